"""The commands of the README and of the documents, and files with the names that they use."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import made_wheels
import soundfile

from birdlib import __main__, runtime
from birdlib.audio import io as audio_io
from birdlib.data.synthetic import sample
from birdlib.pipeline import kaggle

ROOT = runtime.repository()
DOCUMENTS = ["README.md", "data/README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
PROGRAM = "python -m birdlib"
_STARTS = ("python", "papermill", "jupyter", ".venv")
ON_A_CHAIN = (  # in this order, where stages 01 to 09 are finished; run by tests/test_chain.py
    "python -m birdlib analyse my_recordings",
    "python -m birdlib analyse my_recordings --to raven,audacity --output may_2026",
    "python -m birdlib analyse my_recordings --min-confidence 0.5 --overlap 1.5 --jobs 4 --output strict",
    "python -m birdlib export --to kaleidoscope,jsonl --analysis may_2026",
    "python -m birdlib export --to raven,cvat",
    "python -m birdlib export --to audacity --what voices --output voices",
    "python -m birdlib nearest photo.jpg song.wav",
    "python -m birdlib match film.mp4 song.wav",
    'python -m birdlib gallery add "red ring" film.mp4',
    "python -m birdlib gallery match other.mp4",
    "python -m birdlib package --user my_name",
    "python -m birdlib package --user YOUR_NAME --competition birdclef-2025",
    "for part in code models wheels; do kaggle datasets create -p outputs/kaggle/birdlib-$part -r zip; done",
    "kaggle kernels push -p outputs/kaggle/birdlib-submission",
)


def text_of(name):
    """Text of a document."""
    return (ROOT / name).read_text(encoding="utf-8")


def commands():
    """Every line of a block of shell commands, and every piece of code in a sentence or table that starts as a command; without comments."""
    found = {}
    for name in DOCUMENTS:
        text = text_of(name)
        blocks = re.findall(r"(?ms)^```bash\n(.*?)^```", text)
        lines = [line for block in blocks for line in block.splitlines() if line]
        inline = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", text))
        lines += [line for line in inline if line.startswith(_STARTS) and " " in line]
        found |= {re.sub(r"\s+#.*", "", line).strip(): name for line in lines}
    return found


def python_blocks():
    """Every block of Python of the documents."""
    return [block for name in DOCUMENTS for block in re.findall(r"(?ms)^```python\n(.*?)^```", text_of(name))]


def put_files(folder, outputs=None):
    """Small files with the names that the documents use: recordings of 6 s, a film, a photo; ``outputs`` is that of a finished chain."""
    taken = sample.ensure()
    waveform, rate_hz = audio_io.read(sorted((taken / "test_soundscapes").iterdir())[0])
    films = sorted((taken / "videos").iterdir())
    (folder / "night").mkdir(parents=True)
    for place in ("my_recordings/wren", "my_recordings/robin", "nest_box_films"):
        (folder / place).mkdir(parents=True)
    for number, name in enumerate(("dawn.wav", "song.wav", "night/SITE_20250414_220000.flac", "my_recordings/wren/a.flac", "my_recordings/robin/b.flac")):
        soundfile.write(folder / name, waveform[number * 6 * rate_hz :][: 6 * rate_hz], rate_hz)
    for name in ("film.mp4", "other.mp4", "nest_box_films/one.mp4"):
        shutil.copyfile(films[0], folder / name)
    shutil.copyfile(sorted((taken / "images").glob("*/*.jpg"))[0], folder / "photo.jpg")
    if outputs:
        (folder / "outputs").symlink_to(outputs, target_is_directory=True)
    return folder


def put_kaggle(folder, monkeypatch):
    """Kaggle's command, which notes its arguments in ``kaggle.txt`` where the folder it is given has metadata; wheels of packages that nobody has."""
    script = folder / "bin" / "kaggle"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\nfor word; do last=$folder; folder=$word; [ "$last" = -p ] && ls "$word"/*metadata.json >> kaggle.txt && exit 0; done; exit 1\n')
    script.chmod(0o755)
    least = dict(re.findall(r"(?m)^([\w.-]+)>=([\d.]+)", text_of("requirements.txt")))
    for name in kaggle.ABSENT:
        made_wheels.put_wheel(folder / "index", name, version=least.get(name, "1.0"))
    settings = {"PATH": f"{script.parent}:{os.environ['PATH']}", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder / "index"), "PIP_CONFIG_FILE": "/dev/null"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def run(line, folder):
    """Run a command in a folder; ``python -m birdlib`` in this process, so that TensorFlow is not imported again. Returns the status."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        if line.startswith(PROGRAM):
            return __main__.main(shlex.split(line.removeprefix(PROGRAM)))
        own = re.sub(r"^python\b", shlex.quote(sys.executable), line)
        return subprocess.run(["bash", "-euc", own], env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode
    except SystemExit as ended:  # --help
        return ended.code
    finally:
        os.chdir(before)
