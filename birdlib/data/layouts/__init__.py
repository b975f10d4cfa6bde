"""Data sets as they are downloaded or kept, read as a manifest: a module a layout; ``registry`` lists them.

A layout module has ``NEEDS`` (what tells the layout, in words), ``MEDIA`` (the kinds of files it lists), and

- ``find(tree)``: {folder: why it is this layout}, folders relative to the root of the tree, ``""`` for the root;
- ``read(tree, folder, files)``: (rows, unplaced) of the files that belong to it: rows are dictionaries with columns of ``rows.COLUMNS``,
  paths are relative to the root of the tree; unplaced is [(path, reason)]. Files with the reason ``""`` are handed on to the layouts that need no table.

A new layout is a module and its name in ``registry.DATA_SETS``.
"""
