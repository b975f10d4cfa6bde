"""A folder of films to be counted: a row a film, without species."""

from birdlib.data.layouts import species_folders

NEEDS = "films only, in folders that name no species"
MEDIA = ("film",)


def find(tree):
    """The root, if all media are films and no folder may be a species."""
    is_films = bool(tree.media) and set(tree.media.values()) == {"film"} and not species_folders.find(tree)
    return {"": "it has films only"} if is_films else {}


def read(tree, folder, files, species=""):
    """A row a film; its folders, if they name a site or a day, are kept for the group."""
    return [{"path": path, "media": "film", "species": species, "folder_group": species_folders.context(path)} for path in files], []
