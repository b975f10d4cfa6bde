"""Sapsucker Woods 60 (Van Horn et al., "Exploring Fine-Grained Audiovisual Categorization with the SSW60 Dataset", 2022).

``taxa.csv`` names the 60 species; ``video_ml.csv``, ``audio_ml.csv``, ``images_nabirds.csv`` and ``images_inat.csv`` list the files of the folders
of the same name by ``asset_id``.
"""

import posixpath

from birdlib.data.layouts import rows

NEEDS = "taxa.csv with video_ml.csv, audio_ml.csv, images_nabirds.csv or images_inat.csv"
MEDIA = ("sound", "photo", "film")
_LICENCE = "SSW60 terms of use: research in computer vision only, no redistribution"
_PARTS = {  # {table: (medium, suffix, source, prefix of the asset's number)}
    "video_ml": ("film", ".mp4", "SSW60, Macaulay Library", "ML"),
    "audio_ml": ("sound", ".wav", "SSW60, Macaulay Library", "ML"),
    "images_nabirds": ("photo", ".jpg", "SSW60, NABirds", ""),
    "images_inat": ("photo", ".jpg", "SSW60, iNat2021", ""),
}


def find(tree):
    """Folders with ``taxa.csv`` and one of the tables."""
    folders = [posixpath.dirname(path) for path in tree.documents if posixpath.basename(path) == "taxa.csv"]
    return {
        folder: f"taxa.csv and {', '.join(name + '.csv' for name in names)} are there"
        for folder in folders if (names := [name for name in _PARTS if tree.has(posixpath.join(folder, f"{name}.csv"))])
    }  # fmt: skip


def read(tree, folder, files):
    """Rows of all tables. The recordists of sounds and films are not published: an asset of the Macaulay Library is a group."""
    taxa = tree.table(posixpath.join(folder, "taxa.csv"), required=("label", "common_name", "scientific_name"))
    species = {row["label"]: row for row in taxa.to_dict("records")}
    found, unplaced, listed_in = [], [], []
    for name, (media, suffix, source, prefix) in _PARTS.items():
        table_path = posixpath.join(folder, f"{name}.csv")
        if not tree.has(table_path):
            continue
        listed_in.append(f"{name}.csv")
        listed, there = [], set()
        for row in tree.table(table_path, ("split", "photographer", "rights_holder", "license_id"), ("asset_id", "label")).to_dict("records"):
            path = posixpath.join(folder, name, row["asset_id"] + suffix)
            listed.append(path)
            taxon = species.get(row["label"])
            if not tree.has(path):
                continue
            there.add(path)
            if taxon is None:
                unplaced.append((path, f"its label {row['label']} is not in taxa.csv"))
                continue
            author = row.get("photographer") or row.get("rights_holder") or ""
            found.append(
                {
                    "path": path, "media": media, "recording_id": f"{prefix}{row['asset_id']}",
                    "scientific_name": taxon["scientific_name"], "common_name": taxon["common_name"], "recordist": author, "attribution": author,
                    "group_id": f"ML{row['asset_id']}" if prefix else "", "group_by": "asset of the Macaulay Library" if prefix else "",
                    "source": source, "licence": _LICENCE + (f"; iNat2021 licence {row['license_id']}" if row.get("license_id") else ""),
                    "original_split": row.get("split", ""),
                }
            )  # fmt: skip
        unplaced += rows.missing(table_path, listed, there)
    known = {row["path"] for row in found} | {path for path, _ in unplaced}
    return found, unplaced + rows.unlisted(" or ".join(listed_in), [path for path in files if path not in known])
