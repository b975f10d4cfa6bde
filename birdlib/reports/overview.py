"""The answer of a run in one figure: which species in a soundscape, photos and sounds in one space, individuals in a film.

Every panel is drawn from what its stage left, and left empty where the stage has not run.
"""

from pathlib import Path

from birdlib import figure_text, plots, runtime, stages
from birdlib.audio import io as audio_io
from birdlib.reports import run_files
from birdlib.video import io as video_io

FILE_NAME = "overview.jpg"
_SHOWN_S = 120.0  # of a file at most


def write(outputs_dir, run=None):
    """Draw ``overview.jpg`` into the outputs folder.

    Args:
        outputs_dir: folder of the stages.
        run: ``run_files.Run`` of it where the caller has one.

    Returns:
        Path of the figure, or None where none of its stages is finished.
    """
    import matplotlib.pyplot as plt

    panels = {"08_submit": _soundscape, "04_triplet": _embedding_space, "09_count": _film}
    panels = [draw for name, draw in panels.items() if stages.can_be_read(outputs_dir, name)]
    if not panels:
        return None
    run = run or run_files.Run(outputs_dir)
    figure_text.use_fallback_fonts()
    figure = plt.figure(figsize=(12, 8.5), layout="constrained")
    top, left, right = _axes(figure)
    for draw, ax in zip([*panels, *[_blank] * 2], (top, left, right), strict=False):
        draw(run, ax)
    target = Path(outputs_dir) / FILE_NAME
    with runtime.replacing(target) as temporary:
        figure.savefig(temporary, dpi=110, pil_kwargs={"quality": 85})
    plt.close(figure)
    return target


def _axes(figure):
    grid = figure.add_gridspec(2, 2, height_ratios=[1, 1.3])
    return figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])


def _blank(run, ax):
    ax.set_axis_off()


def _soundscape(run, ax):
    """Spectrogram of the file with the most detections; the surest species of each window is written above it."""
    found = run.read("08_submit", "detections.csv").astype({"species": str})
    found = found[found["soundscape"].isin(list(run.soundscapes)) & (found["start_s"] < _SHOWN_S)]
    if not len(found):
        ax.set_axis_off()
        ax.set_title("which species: no detection to show")
        return
    name = found["soundscape"].value_counts(sort=True).index[0]
    found = found[found["soundscape"] == name]
    waveform, sample_rate_hz = audio_io.read(run.soundscapes[name], end_s=_SHOWN_S)
    surest = found.sort_values("probability").drop_duplicates("start_s", keep="last")
    plots.spectrogram(waveform, sample_rate_hz, ax=ax, title=f"which species: {len(found)} detections of {found['species'].nunique()} species in {name}")
    at_hz = 0.92 * ax.get_ylim()[1]
    for row in surest.itertuples():
        style = {"ha": "center", "va": "center", "fontsize": 8, "color": "white", "rotation": 30}
        ax.text((row.start_s + row.end_s) / 2, at_hz, f"{plots.label_text(run.name(row.species), 18)}\n{row.probability:.2f}", **style)


def _embedding_space(run, ax):
    """Photos and sounds of stage 04, laid out in two dimensions."""
    _, index, points = run.embedding
    labels, kinds = index["species"].unique(), index["kind"].value_counts()
    species = index["species"].map(dict(zip(labels, run.unique_names(labels), strict=True))).to_numpy()
    title = f"embedding space: {' and '.join(f'{n} {kind}s' for kind, n in kinds.items())}"
    plots.embedding_map(points, species, ax, title, legend=len(set(species)) <= 12)


def _film(run, ax):
    """A frame of the annotated film in which most individuals are seen at once."""
    counts, folder = run.read("09_count", "counts.csv"), run.outputs / "09_count" / "annotated"
    ax.set_axis_off()
    counts = counts[[(folder / f"{name}.mp4").is_file() for name in counts["recording_id"]]]
    if not len(counts):
        ax.set_title("how many: no film")
        return
    row = counts.sort_values(["at_once", "n"], kind="stable").iloc[-1]
    name = row["recording_id"]
    tracks = run.read("09_count", "tracks.parquet")
    times = tracks.loc[tracks["recording_id"] == name, "time_s"].round(1)
    _, image = next(video_io.frames(folder / f"{name}.mp4", start_s=float(times.mode().iloc[0])))
    ax.imshow(image)
    ax.set_title(f"how many: {row['n']} individuals [{row['low']}, {row['high']}] in {plots.label_text(name)}")
