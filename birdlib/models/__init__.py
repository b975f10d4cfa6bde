"""Pretrained networks: where their weights come from, and how each is built."""
