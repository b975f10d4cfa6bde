"""The making of the synthetic aviary: recordings, soundscapes, photos, films, and the tables of what is true of them.

Each file has a random generator of its own, so that one more photo changes no song.
"""

import zlib

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.data.synthetic import acoustics, drawing, films, songs, world

WINDOW_S = 5
FPS = 15
FILM_SIZE = (640, 480)
_NAMES = {label: (common, scientific) for label, common, scientific, *_ in world.SPECIES}


class Expedition:
    """One sample in the making: who lives where, and the tables that grow with every file."""

    def __init__(self, folder, seed, *, n_recordings, n_outings, n_photos, n_films, n_train_soundscapes,
                 n_test_soundscapes, soundscape_s):  # fmt: skip
        self.folder, self.seed = folder, seed
        self.train, self.individuals, self.speech, self.windows, self.tracks = [], [], [], [], []
        self.outings = world.outings(n_outings, seed=seed)
        recordings = world.deal(n_recordings, n_outings, seed=seed)
        self.residents = {label: [] for label in world.LABELS}  # by species, each once, in order of recording
        for label, outing in recordings:
            resident = self.individual(label, self.outings[outing].place)
            if resident not in self.residents[label]:
                self.residents[label].append(resident)
        rng = self.rng("jobs")
        announced = set(rng.permutation(len(recordings))[: round(0.15 * len(recordings))].tolist())
        self.jobs = [(self.record, label, outing, k, k in announced) for k, (label, outing) in enumerate(recordings)]
        n_decks = 1 + (n_train_soundscapes + n_test_soundscapes) // 3
        deck = np.concatenate([rng.permutation(world.LABELS) for _ in range(n_decks)]).tolist()
        kinds = ["test"] * n_test_soundscapes + ["train"] * n_train_soundscapes
        for k, kind in enumerate(kinds):
            self.jobs.append((self.soundscape, kind, k, deck[4 * k : 4 * k + 4], soundscape_s))
        for label, *_, n_rare in world.SPECIES:
            self.jobs += [(self.photograph, label, k) for k in range(n_rare or n_photos)]
        self.jobs += [(self.film, k) for k in range(n_films)]

    def rng(self, *purpose):
        return world.rng_for(self.seed, *purpose)

    def individual(self, label, place):
        return world.individual(label, place, seed=self.seed)

    def build(self):
        """Make every file, then the tables."""
        for part in ("truth", "train_soundscapes", "test_soundscapes", "videos"):
            (self.folder / part).mkdir(parents=True)
        for label in world.LABELS:
            (self.folder / "train_audio" / label).mkdir(parents=True)
            (self.folder / "images" / label).mkdir(parents=True)
        for make, *what in runtime.progress(self.jobs, desc="synthetic aviary"):
            make(*what)
        self._write_tables()

    def record(self, label, outing, number, is_announced):
        """One training recording: a songster near by, perhaps others behind it, weather, gear, a spoken note."""
        outing = self.outings[outing]
        singer = self.individual(label, outing.place)
        collection = ("XCsyn", "iNatsyn")[number % 2]
        name = f"{label}/{collection}{100_000 + 37 * number}.ogg"
        rng = self.rng("recording", name)
        person, place = outing.recordist, acoustics.PLACES[outing.place]
        speech = _speak_as(outing.recordist, _introduction(label, outing)) if is_announced else np.zeros(0, np.float32)
        duration_s = rng.uniform(6, 12) + 0.7 * len(speech) / acoustics.SAMPLE_RATE_HZ  # it overlaps with some song
        air = self._hear(singer, duration_s, rng.uniform(*person.distance_m), place, rng)[0]
        behind = [outing.neighbour] * (rng.random() < 0.55)
        if rng.random() < 0.2:
            behind.append(self.individual(str(rng.choice(world.COMMON_LABELS)), outing.place))
        secondary = []
        for bird in behind:
            if bird.label not in [label, *secondary]:
                air += self._hear(bird, duration_s, rng.uniform(1.1, 2.2) * person.distance_m[1], place, rng)[0]
                if rng.random() < 0.55:  # many recordists do not list what sings in the background
                    secondary.append(bird.label)
        air += self._weather(len(air), place.wind_db, outing.rains, rng)
        if is_announced:
            margin = round(0.2 * acoustics.SAMPLE_RATE_HZ)
            start = margin if rng.random() < 0.5 else len(air) - len(speech) - margin
            air[start : start + len(speech)] += rng.uniform(0.8, 1.3) * max(0.2, np.abs(air).max()) * speech
            start_s, end_s = (round(n / acoustics.SAMPLE_RATE_HZ, 3) for n in (start, start + len(speech)))
            self.speech.append({"file": f"train_audio/{name}", "start_s": start_s, "end_s": end_s,
                                "text": _introduction(label, outing)})  # fmt: skip
        self._save(acoustics.through_gear(air, person, rng=rng), f"train_audio/{name}")
        common, scientific = _NAMES[label]
        self.individuals.append({"file": f"train_audio/{name}", "kind": "audio", "label": label,
                                 "individual_id": singer.individual_id})  # fmt: skip
        self.train.append({
            "primary_label": label, "secondary_labels": str(secondary or [""]), "type": str(["song"]), "filename": name,
            "collection": collection, "rating": round(2 * rng.uniform(1, 5)) / 2,
            "url": f"https://aviary.invalid/{name}", "latitude": place.latitude, "longitude": place.longitude,
            "scientific_name": scientific, "common_name": common, "author": person.name, "license": "cc0 1.0",
        })  # fmt: skip

    def _hear(self, singer, duration_s, distance_m, place, rng):
        song, notes = songs.sing(singer.label, singer.voice, duration_s=duration_s,
                                 sample_rate_hz=acoustics.SAMPLE_RATE_HZ, rng=rng)  # fmt: skip
        return acoustics.carry(song, distance_m=distance_m, reverb_s=place.reverb_s, rng=rng), notes

    def _weather(self, n_samples, wind_db, rains, rng):
        air = acoustics.wind(n_samples, level_db=wind_db + rng.normal(0, 3), rng=rng)
        if rains:
            air += acoustics.rain(n_samples, drops_per_s=rng.uniform(15, 70), level_db=rng.uniform(-54, -44), rng=rng)
        return air

    def _save(self, waveform, name):
        acoustics.write_ogg(waveform, self.folder / name, serial=zlib.crc32(name.encode()))

    def soundscape(self, kind, number, labels, duration_s):
        """A minute of one place: bouts of several species, some at once, and a stretch in which nobody sings."""
        rng = self.rng("soundscape", number)
        place = acoustics.PLACES[int(rng.integers(len(acoustics.PLACES)))]
        day, hour, minute = rng.integers(1, 29), rng.integers(5, 9), 10 * rng.integers(0, 6)
        stem = f"S{number + 1:02d}_2025{4 + number % 3:02d}{day:02d}_{hour:02d}{minute:02d}00"
        air = self._weather(duration_s * acoustics.SAMPLE_RATE_HZ, place.wind_db, number % 3 == 1, rng)
        n_windows = duration_s // WINDOW_S
        n_quiet = min(2, n_windows // 3)
        quiet_from = WINDOW_S * int(rng.integers(0, n_windows - n_quiet + 1))
        quiet_to = quiet_from + WINDOW_S * n_quiet
        stretches = [(0, quiet_from), (quiet_to, duration_s)]
        heard = []
        for label in labels:
            singer = self.individual(label, int(rng.integers(len(acoustics.PLACES))))
            for _ in range(rng.integers(2, 4)):
                lengths = np.array([end - start for start, end in stretches], float)
                start, end = stretches[rng.choice(2, p=lengths / lengths.sum())]
                bout_s = min(end - start, rng.uniform(6, 14))
                start_s = rng.uniform(start, end - bout_s)
                distance_m = rng.uniform(*acoustics.SOUNDSCAPE_RECORDER.distance_m)
                sound, notes = self._hear(singer, bout_s, distance_m, place, rng)
                first = round(start_s * acoustics.SAMPLE_RATE_HZ)
                sound = sound[: len(air) - first]
                air[first : first + len(sound)] += sound
                heard += [(label, start_s + note_start, start_s + note_end) for note_start, note_end in notes]
        recorded = acoustics.through_gear(air, acoustics.SOUNDSCAPE_RECORDER, rng=rng)
        self._save(recorded, f"{kind}_soundscapes/{stem}.ogg")
        for end_s in range(WINDOW_S, duration_s + 1, WINDOW_S):
            sung_s = dict.fromkeys(labels, 0.0)
            for label, start, end in heard:
                sung_s[label] += max(0.0, min(end, end_s) - max(start, end_s - WINDOW_S))
            birds = sorted(label for label, seconds in sung_s.items() if seconds >= 0.2)
            self.windows.append({"row_id": f"{stem}_{end_s}", "which": kind, "birds": ";".join(birds)})

    def photograph(self, label, number):
        """One photo; two in a row show the same individual, where a species has more than four photos."""
        import cv2

        residents = self.residents[label]
        resident = residents[(number // 2 if label in world.COMMON_LABELS else number) % len(residents)]
        name = f"images/{label}/{label}_photo{number + 1:02d}.jpg"
        image, quality = films.photo(drawing.PLUMAGES[label], resident.marks, self.rng("photo", name))
        cv2.imwrite(str(self.folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        self.individuals.append({"file": name, "kind": "image", "label": label,
                                 "individual_id": resident.individual_id})  # fmt: skip

    def film(self, number):
        """One film and its truth: a row a bird, and a row for each bird in each frame."""
        name = f"videos/aviary_{number + 1:02d}.mp4"
        rng = self.rng("film", number)
        cast = []
        for label, which, visits in world.CASTS[number]:
            never_recorded = [self.individual(label, place) for place in range(len(acoustics.PLACES))]
            resident = list(dict.fromkeys(self.residents[label] + never_recorded))[which]  # a small sample has few
            cast.append(films.Bird(label, resident.individual_id, resident.voice, resident.marks, visits))
        width, height = FILM_SIZE
        duration_s = rng.uniform(8, 12)
        frames, soundtrack = films.film(cast, duration_s=duration_s, fps=FPS, width=width, height=height, rng=rng)
        tracks = []

        def images():
            for frame, (image, rows) in enumerate(frames):
                tracks.extend({"video": name, "frame": frame, "time_s": round(frame / FPS, 3)} | row for row in rows)
                yield image

        films.write_film(images(), soundtrack, self.folder / name, fps=FPS)
        self.tracks += tracks
        for bird in cast:
            seen = [row["time_s"] for row in tracks if row["individual_id"] == bird.individual_id]
            self.individuals.append({
                "file": name, "kind": "video", "label": bird.label, "individual_id": bird.individual_id,
                "enter_s": seen[0], "exit_s": round(seen[-1] + 1 / FPS, 3),
            })  # fmt: skip

    def _write_tables(self):
        train = pd.DataFrame(self.train).sort_values(["primary_label", "filename"])
        runtime.write_table(train, self.folder / "train.csv")
        columns = ["primary_label", "common_name", "scientific_name", "class_name", "n_recordings"]
        taxonomy = pd.DataFrame(world.SPECIES, columns=columns)
        numbers = [label if label.isdigit() else str(99_000_000 + k) for k, label in enumerate(taxonomy.primary_label)]
        taxonomy = taxonomy.assign(inat_taxon_id=numbers).sort_values("primary_label")
        columns = ["primary_label", "inat_taxon_id", "scientific_name", "common_name", "class_name"]
        runtime.write_table(taxonomy[columns], self.folder / "taxonomy.csv")
        windows = pd.DataFrame(self.windows)
        submission = pd.DataFrame({"row_id": windows.row_id[windows.which == "test"]})
        submission[list(world.LABELS)] = 1 / len(world.LABELS)
        runtime.write_table(submission, self.folder / "sample_submission.csv")
        truth = self.folder / "truth"
        runtime.write_table(windows.drop(columns="which"), truth / "soundscape_labels.csv")
        columns = ["file", "kind", "label", "individual_id", "enter_s", "exit_s"]
        runtime.write_table(pd.DataFrame(self.individuals, columns=columns), truth / "individuals.csv")
        columns = ["file", "start_s", "end_s", "text"]
        runtime.write_table(pd.DataFrame(self.speech, columns=columns), truth / "speech.csv")
        columns = ["video", "frame", "time_s", "individual_id", "label", "x", "y", "width", "height", "sings"]
        runtime.write_table(pd.DataFrame(self.tracks, columns=columns), truth / "video_tracks.csv")
        (truth / "README.md").write_text(_TRUTH, encoding="utf-8")
        (self.folder / "recording_location.txt").write_text(_LOCATION, encoding="utf-8")


def _introduction(label, outing):
    return f"{_NAMES[label][0]}, {acoustics.PLACES[outing.place].name}, recorded by {outing.recordist.name}."


def _speak_as(person, text):
    habit = zlib.crc32(person.name.encode())  # a person's voice does not change
    voice = acoustics.VOICES[habit % len(acoustics.VOICES)]
    return acoustics.speak(text, voice=voice, pitch=30 + habit % 50, words_per_minute=145 + habit % 40)


_LOCATION = """The synthetic aviary: no place on Earth. Every sound and picture was computed.

Coordinates:

Latitude: 12.40
Longitude: -45.15
"""

_TRUTH = """What is true of this synthetic sample. For tests and scores: nothing that trains or predicts reads it.

- soundscape_labels.csv: row_id (soundscape, `_`, END second of a 5-s window), birds (`;` between labels; empty:
  nobody). A species counts when its syllables sound for 0.2 s or longer in the window, however faint.
- individuals.csv: which individual is in which file (audio: the main singer; video: one row a bird, and when it is
  first and last seen).
- speech.csv: where a synthetic voice speaks, and what it says.
- video_tracks.csv: boxes in pixels of the part of each bird inside the frame, and whether it sings (0 or 1).
"""
