"""A folder of recordings, photos and films of which scenes are made."""

import numpy as np
import pandas as pd
from media import backbone

from birdlib.multimodal import scenes
from birdlib.store import EmbeddingStore


def row(recording_id="r0", species="wren", start_s=np.nan, end_s=np.nan, split="train", is_repeated=False, **paths):
    paths = {f"{kind}_path": paths.get(kind, "") for kind in ("audio", "image", "video")}
    own = {"recording_id": recording_id, "species": species, "group_id": f"group of {recording_id}"}
    return own | {"split": split, "is_repeated": is_repeated, "start_s": start_s, "end_s": end_s} | paths


class Folder:
    """A folder with its store; ``pictures`` and ``sounds`` return (scenes, arrays, reasons by path)."""

    def __init__(self, root):
        self.root, self.backbone = root, backbone()

    def pictures(self, *rows):
        return self._extract(lambda *given: scenes.picture_scenes(*given[:2], self.backbone, given[2]), rows)

    def sounds(self, *rows):
        return self._extract(scenes.sound_scenes, rows)

    def _extract(self, make, rows):
        with EmbeddingStore(self.root / "store", scenes.STORE_KEY) as store:
            table, skipped = make(pd.DataFrame(rows, columns=list(row())), self.root, store)
            assert list(table) == list(scenes.COLUMNS) and list(skipped) == ["path", "stage", "reason"]
            return table, scenes.Arrays(store, table), dict(zip(skipped["path"], skipped["reason"], strict=True))
