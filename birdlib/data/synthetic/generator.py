"""Generation of the synthetic sample: recordings, soundscapes, photos, films, and the tables of their truth.

Each file has a random generator of its own, so that one more photo changes no song.
"""

import collections
import copy
import zlib

import numpy as np
import pandas as pd

from birdlib import parallel, runtime
from birdlib.data.synthetic import acoustics, drawing, films, songs, world

WINDOW_S = 5
FPS = 15
FILM_SIZE = (640, 480)
_RATE_HZ = acoustics.SAMPLE_RATE_HZ
_TAXONOMY_COLUMNS = ["primary_label", "inat_taxon_id", "scientific_name", "common_name", "class_name"]
_TRUTH_COLUMNS = {
    "individuals": "file kind label individual_id enter_s exit_s",
    "speech": "file start_s end_s text",
    "video_tracks": "video frame time_s individual_id label x y width height sings",
}
_FEW = 100  # jobs, which take less time than starting processes
_SPECIES = {species.primary_label: species for species in world.SPECIES}


class SampleBuilder:
    """One sample: its individuals, its jobs (a file each: the name of a method, and its arguments), and the tables that grow with every file."""

    def __init__(self, folder, seed, *, n_recordings, n_outings, n_photos, n_films, n_train_soundscapes,
                 n_test_soundscapes, soundscape_s):  # fmt: skip
        self.folder, self.seed = folder, seed
        self.rows = collections.defaultdict(list)  # of the tables that grow with every file
        self.outings = world.outings(n_outings, seed=seed)
        recordings = world.assign_recordings(n_recordings, n_outings, seed=seed)
        self.residents = {label: [] for label in world.LABELS}  # by species, each once, in order of recording
        for label, outing in recordings:
            resident = self._individual(label, self.outings[outing].place)
            if resident not in self.residents[label]:
                self.residents[label].append(resident)
        rng = self._rng("jobs")
        announced = set(rng.permutation(len(recordings))[: round(0.15 * len(recordings))].tolist())
        self.jobs = [("_record", label, outing, k, k in announced) for k, (label, outing) in enumerate(recordings)]
        n_decks = 1 + (n_train_soundscapes + n_test_soundscapes) // 3
        deck = np.concatenate([rng.permutation(world.LABELS) for _ in range(n_decks)]).tolist()
        for k, kind in enumerate(["test"] * n_test_soundscapes + ["train"] * n_train_soundscapes):
            self.jobs.append(("_record_soundscape", kind, k, deck[4 * k : 4 * k + 4], soundscape_s))
        for label, *_, n_rare in world.SPECIES:
            self.jobs += [("_draw_photo", label, k) for k in range(n_rare or n_photos)]
        self.jobs += [("_draw_film", k) for k in range(n_films)]

    def build(self):
        """Write every file, then the tables."""
        for part in ("truth", "train_soundscapes", "test_soundscapes", "videos"):
            (self.folder / part).mkdir(parents=True)
        for label in world.LABELS:
            (self.folder / "train_audio" / label).mkdir(parents=True)
            (self.folder / "images" / label).mkdir(parents=True)
        tasks = [{"builder": self, "write": write, "arguments": arguments} for write, *arguments in self.jobs]
        for rows in parallel.map_ordered(_write_file, tasks, range(len(tasks)), -1 if len(tasks) > _FEW else 1, "synthetic sample"):
            for name, added in rows.items():
                self.rows[name] += added
        self._write_tables()

    def _rng(self, *purpose):
        return world.rng_for(self.seed, *purpose)

    def _individual(self, label, place):
        return world.individual(label, place, seed=self.seed)

    def _record(self, label, outing, number, is_announced):
        """One training recording: a singer, perhaps others in the background, weather, recorder, announcement."""
        outing = self.outings[outing]
        singer = self._individual(label, outing.place)
        collection = ("XCsyn", "iNatsyn")[number % 2]
        name = f"{label}/{collection}{100_000 + 37 * number}.ogg"
        rng = self._rng("recording", name)
        recordist, place = outing.recordist, acoustics.PLACES[outing.place]
        text = f"{_SPECIES[label].common_name}, {place.name}, recorded by {recordist.name}."
        speech = _speak_as(recordist, text) if is_announced else np.zeros(0, np.float32)
        duration_s = rng.uniform(6, 12) + 0.7 * len(speech) / _RATE_HZ  # it overlaps with some song
        air = self._song(singer, duration_s, rng.uniform(*recordist.distance_m), place, rng)[0]
        background = [outing.neighbour] * (rng.random() < 0.55)
        if rng.random() < 0.2:
            background.append(self._individual(str(rng.choice(world.COMMON_LABELS)), outing.place))
        secondary = []
        for bird in background:
            if bird.label not in [label, *secondary]:
                air += self._song(bird, duration_s, rng.uniform(1.1, 2.2) * recordist.distance_m[1], place, rng)[0]
                if rng.random() < 0.55:  # many recordists do not list what sings in the background
                    secondary.append(bird.label)
        air += self._weather(len(air), place.wind_db, outing.rains, rng)
        if is_announced:
            margin = round(0.2 * _RATE_HZ)
            start = margin if rng.random() < 0.5 else len(air) - len(speech) - margin
            air[start : start + len(speech)] += rng.uniform(0.8, 1.3) * max(0.2, np.abs(air).max()) * speech
            start_s, end_s = (round(n / _RATE_HZ, 3) for n in (start, start + len(speech)))
            self.rows["speech"].append({"file": f"train_audio/{name}", "start_s": start_s, "end_s": end_s, "text": text})
        self._save(acoustics.record(air, recordist, rng=rng), f"train_audio/{name}")
        self._add_individual(f"train_audio/{name}", "audio", singer)
        self.rows["train"].append({
            "primary_label": label, "secondary_labels": str(secondary or [""]), "type": str(["song"]), "filename": name,
            "collection": collection, "rating": round(2 * rng.uniform(1, 5)) / 2,
            "url": f"https://aviary.invalid/{name}", "latitude": place.latitude, "longitude": place.longitude,
            "scientific_name": _SPECIES[label].scientific_name, "common_name": _SPECIES[label].common_name,
            "author": recordist.name, "license": "cc0 1.0",
        })  # fmt: skip

    def _song(self, singer, duration_s, distance_m, place, rng):
        """(waveform, notes) of ``songs.sing`` at the microphone."""
        song, notes = songs.sing(singer.label, singer.voice, duration_s=duration_s, sample_rate_hz=_RATE_HZ, rng=rng)
        return acoustics.propagate(song, distance_m=distance_m, reverb_s=place.reverb_s, rng=rng), notes

    def _weather(self, n_samples, wind_db, rains, rng):
        air = acoustics.wind(n_samples, level_db=wind_db + rng.normal(0, 3), rng=rng)
        if rains:
            air += acoustics.rain(n_samples, drops_per_s=rng.uniform(15, 70), level_db=rng.uniform(-54, -44), rng=rng)
        return air

    def _save(self, waveform, name):
        acoustics.write_ogg(waveform, self.folder / name, serial=zlib.crc32(name.encode()))

    def _add_individual(self, file, kind, animal, **span):
        row = {"file": file, "kind": kind, "label": animal.label, "individual_id": animal.individual_id}
        self.rows["individuals"].append(row | span)

    def _record_soundscape(self, kind, number, labels, duration_s):
        """A minute at one place: bouts of several species, some at once, and a stretch without song."""
        rng = self._rng("soundscape", number)
        place = acoustics.PLACES[int(rng.integers(len(acoustics.PLACES)))]
        day, hour, minute = rng.integers(1, 29), rng.integers(5, 9), 10 * rng.integers(0, 6)
        stem = f"S{number + 1:02d}_2025{4 + number % 3:02d}{day:02d}_{hour:02d}{minute:02d}00"
        air = self._weather(duration_s * _RATE_HZ, place.wind_db, number % 3 == 1, rng)
        n_windows = duration_s // WINDOW_S
        n_quiet = min(2, n_windows // 3)
        quiet_from = WINDOW_S * int(rng.integers(0, n_windows - n_quiet + 1))
        stretches = [(0, quiet_from), (quiet_from + WINDOW_S * n_quiet, duration_s)]
        sung = []
        for label in labels:
            singer = self._individual(label, int(rng.integers(len(acoustics.PLACES))))
            for _ in range(rng.integers(2, 4)):
                lengths = np.array([end - start for start, end in stretches], float)
                start, end = stretches[rng.choice(2, p=lengths / lengths.sum())]
                bout_s = min(end - start, rng.uniform(6, 14))
                start_s = rng.uniform(start, end - bout_s)
                distance_m = rng.uniform(*acoustics.SOUNDSCAPE_RECORDER.distance_m)
                sound, notes = self._song(singer, bout_s, distance_m, place, rng)
                first = round(start_s * _RATE_HZ)
                sound = sound[: len(air) - first]
                air[first : first + len(sound)] += sound
                sung += [(label, start_s + note_start, start_s + note_end) for note_start, note_end in notes]
        recorded = acoustics.record(air, acoustics.SOUNDSCAPE_RECORDER, rng=rng)
        self._save(recorded, f"{kind}_soundscapes/{stem}.ogg")
        for end_s in range(WINDOW_S, duration_s + 1, WINDOW_S):
            sung_s = dict.fromkeys(labels, 0.0)
            for label, start, end in sung:
                sung_s[label] += max(0.0, min(end, end_s) - max(start, end_s - WINDOW_S))
            birds = sorted(label for label, seconds in sung_s.items() if seconds >= 0.2)
            self.rows["windows"].append({"row_id": f"{stem}_{end_s}", "which": kind, "birds": ";".join(birds)})

    def _draw_photo(self, label, number):
        """One photo; two consecutive ones show the same individual, where a species has more than four photos."""
        import cv2

        residents = self.residents[label]
        resident = residents[(number // 2 if label in world.COMMON_LABELS else number) % len(residents)]
        name = f"images/{label}/{label}_photo{number + 1:02d}.jpg"
        image, quality = films.photo(drawing.PLUMAGES[label], resident.marks, self._rng("photo", name))
        cv2.imwrite(str(self.folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        self._add_individual(name, "image", resident)

    def _draw_film(self, number):
        """One film and its truth: a row for each bird, and a row for each bird in each frame."""
        name = f"videos/aviary_{number + 1:02d}.mp4"
        rng = self._rng("film", number)
        cast = []
        for label, which, visits in world.CASTS[number]:
            never_recorded = [self._individual(label, place) for place in range(len(acoustics.PLACES))]
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
        self.rows["tracks"] += tracks
        for bird in cast:
            times_s = [row["time_s"] for row in tracks if row["individual_id"] == bird.individual_id]
            self._add_individual(name, "video", bird, enter_s=times_s[0], exit_s=round(times_s[-1] + 1 / FPS, 3))

    def _write_tables(self):
        taxonomy = pd.DataFrame(world.SPECIES)
        numbers = [label if label.isdigit() else str(99_000_000 + k) for k, label in enumerate(taxonomy.primary_label)]
        taxonomy = taxonomy.assign(inat_taxon_id=numbers)
        windows = pd.DataFrame(self.rows["windows"])
        submission = pd.DataFrame({"row_id": windows.row_id[windows.which == "test"]})
        submission[list(world.LABELS)] = 1 / len(world.LABELS)
        tables = {
            "train": pd.DataFrame(self.rows["train"]).sort_values(["primary_label", "filename"]),
            "taxonomy": taxonomy.sort_values("primary_label")[_TAXONOMY_COLUMNS],
            "sample_submission": submission,
            "truth/soundscape_labels": windows.drop(columns="which"),
        }
        for name, rows in (("individuals", self.rows["individuals"]), ("speech", self.rows["speech"]), ("video_tracks", self.rows["tracks"])):
            tables[f"truth/{name}"] = pd.DataFrame(rows, columns=_TRUTH_COLUMNS[name].split())
        for name, table in tables.items():
            runtime.write_table(table, self.folder / f"{name}.csv")
        (self.folder / "truth" / "README.md").write_text(_TRUTH, encoding="utf-8")
        (self.folder / "recording_location.txt").write_text(_LOCATION, encoding="utf-8")


def _write_file(builder, write, arguments):
    """Do one job of a builder: the rows that it adds to tables, {name: rows}."""
    own = copy.copy(builder)
    own.rows = collections.defaultdict(list)
    getattr(own, write)(*arguments)
    return own.rows


def _speak_as(recordist, text):
    habit = zlib.crc32(recordist.name.encode())  # a person's voice does not change
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
