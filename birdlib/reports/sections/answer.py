"""The answer of a run: what was asked, three sentences with figures, and the key figures as cards. All of it comes from receipts and tables."""

import math

from birdlib.reports import numbers, page, tables


def sentences(run):
    """HTML: the question and the answers about species, individuals and the submission."""
    answers = [_question(run), _species(run), _individuals(run), _submission(run)]
    return page.element("div", *(page.element("p", answer) for answer in answers if answer), class_="answer")


def cards(run):
    """HTML: key figures side by side; those of stages that have not run are left out."""
    return page.cards([card for make in (_auc_card, _fusion_card, _count_card, _submission_card, _time_card) for card in make(run)])


def _question(run):
    results = run.results("01_split")
    if "recordings" not in results:
        return "Which species, which individual, how many? The recordings have not been split yet, so there is nothing to answer from."
    table = run.read_or_none("01_split", "splits.parquet")
    kinds = []
    if table is not None:
        columns = {"audio_path": "sound", "image_path": "photo", "video_path": "film"}
        kinds = [numbers.counted(table.loc[table[column] != "", column].nunique(), kind) for column, kind in columns.items() if column in table and (table[column] != "").any()]
    held = f"{numbers.listing(kinds)} of " if kinds else f"{numbers.counted(results['recordings'], 'recording')} of "
    return page.join("Asked of ", strong(f"{held}{numbers.counted(results.get('species', 0), 'species', 'species')}"), ": which species, which individuals, how many, and is there a submission?")


def _species(run):
    if not run.is_finished("07_classify"):
        return f"Species: there is no classifier. {run.why_missing('07_classify')}"
    results, best = run.results("07_classify"), best_classifier(run)
    if best is None:
        return "Species: a classifier is trained, but its receipt has no figures: it was written by another version of birdlib."
    accuracy = results.get(f"{best}: accuracy")
    auc, n_test = results[f"{best}: macro_auc"], results.get("test recordings", 0)
    guess = page.join(", and its first guess is right in ", strong(shares(accuracy)), " of them") if is_interval(accuracy) else ""
    if not math.isfinite(auc[0]):
        return page.join("Species: test has recordings of one species only, so no ranking of species can be judged", guess, ". Record more groups of the other species.")
    caution = " The test is small; read the interval, not the figure." if n_test < 50 else ""
    if run.results("01_split").get("divided groups"):
        flattery = results.get("random split flatters macro_auc")
        measured = f" {_flattery(flattery)}" if is_interval(flattery) else ""
        caution = page.join(" ", strong("This is too high: recordings were split at random, so recordings of one place and recordist are on both sides."), measured, caution)
    return page.join(
        "Species: on ", numbers.counted(n_test, "test recording"), " kept apart from training, the classifier ranks the right species with a macro ROC-AUC of ",
        strong(numbers.with_interval(auc)), guess, ".", caution,
    )  # fmt: skip


def _flattery(difference):
    """How much higher a network's figure is by folds of recordings than by folds of groups."""
    shown = numbers.with_interval(difference)
    seen = "higher" if difference[1] > 0 else "not seen to be higher"
    return f"In cross-validation the same network is {seen} by folds of recordings than by folds of groups: {shown}."


def _individuals(run):
    if not run.is_finished("09_count"):
        return f"Individuals: nothing was counted. {run.why_missing('09_count')}"
    results = run.results("09_count")
    if not results.get("films"):
        voice = results.get("closed set, accuracy")
        by_voice = page.join(" By voice alone, ", strong(shares(voice)), " of the songs are given to the right one of the named birds.") if is_interval(voice) else ""
        return page.join("Individuals: there was no film to count in.", by_voice)
    total = page.join("Individuals: in ", numbers.counted(results["films"], "film"), " there are ", strong(f"{results.get('individuals', '–')} individuals"))
    several = page.join(", of which ", strong(results["in several films"]), " appear in several films") if results.get("in several films") else ""
    check = f" Where the truth is known, {results['films counted right']} films are counted right." if results.get("films counted right") else ""
    return page.join(total, several, f".{check}")


def _submission(run):
    if not run.is_finished("08_submit"):
        return f"Submission: there is none. {run.why_missing('08_submit')}"
    results = run.results("08_submit")
    refused = results.get("scores refused", 0)
    ready = "is ready" if not refused else f"is valid, but {numbers.counted(refused, 'score')} had to be replaced"
    size = f"{numbers.counted(results.get('rows', 0), 'row')} for {numbers.counted(results.get('columns', 0), 'species', 'species')}"
    time = f" It takes {results['time']}." if results.get("time") else ""
    return page.join("Submission: the table ", strong(f"{ready} with {size}"), f", predicted from {results.get('predicted', 'soundscapes')} without network.{time}")


def _auc_card(run):
    best = best_classifier(run)
    remark = "random split: too high" if run.results("01_split").get("divided groups") else "90 % interval"
    if best is not None and math.isfinite(run.results("07_classify")[f"{best}: macro_auc"][0]):
        yield numbers.with_interval(run.results("07_classify")[f"{best}: macro_auc"]), "macro ROC-AUC of species", f"{numbers.counted(run.results('07_classify').get('test recordings', 0), 'test recording')}, {remark}"


def _fusion_card(run):
    results = run.results("04_triplet")
    name, of = next(((name, of) for name, of in _QUERIES if is_interval(results.get(f"{name}, early fusion: P@1"))), ("", ""))
    if name:
        table = run.read_or_none("04_triplet", "results.parquet")
        n = table.loc[table["set"] == name, "n"].max() if table is not None and {"set", "n"} <= set(table.columns) else None
        remark = f"{numbers.counted(int(n), 'query', 'queries')} of {of}" if n else of
        yield numbers.with_interval(results[f"{name}, early fusion: P@1"]), "photo + sound: nearest is the same species", remark


_QUERIES = (("unseen species", "species never trained on"), ("known species", "known species"))


def _count_card(run):
    results = run.results("09_count")
    if results.get("films"):
        yield results.get("individuals", "–"), "individuals", f"in {numbers.counted(results['films'], 'film')}"


def _submission_card(run):
    results = run.results("08_submit")
    if results:
        yield f"{numbers.number(results.get('rows', 0), 0)} rows", "submission", "valid" if not results.get("scores refused") else "valid, with replaced scores"


def _time_card(run):
    seconds = sum(receipt["seconds"] for receipt in run.receipts.values())
    if run.receipts:
        peaks = [receipt["peak_mb"] for receipt in run.receipts.values() if receipt.get("peak_mb")]
        yield numbers.duration(seconds), "computing time", f"{numbers.counted(len(run.receipts), 'stage')}" + (f", at most {numbers.megabytes(1e6 * max(peaks))} of memory" if peaks else "")


def best_classifier(run):
    """The classifier that is saved: the ensemble where there is one, else the network; None without figures."""
    results = run.results("07_classify")
    return next((name for name in ("ensemble", "network") if is_interval(results.get(f"{name}: macro_auc"))), None)


def is_interval(value):
    """Whether a value is (value, low, high)."""
    return isinstance(value, list | tuple) and len(value) == 3 and all(isinstance(v, int | float) for v in value)


def shares(interval):
    """``58 % [50 %, 67 %]`` of shares."""
    value, low, high = interval
    if low != low or high != high:
        return numbers.number(value, unit="%")
    return f"{numbers.number(value, unit='%')} [{numbers.number(low, unit='%')}, {numbers.number(high, unit='%')}]"


def strong(text):
    """Text in bold."""
    return page.element("b", tables.printable(text))
