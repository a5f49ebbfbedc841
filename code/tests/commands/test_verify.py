"""`exper verify`: exact, or the first difference with its cause; planted in a stranger's runs and in the template's."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exper.core import lock, paths
from exper.runs import status
from tests.conftest import copy_project
from tests.support import manager, pictures
from tests.support.manager import edit_record, exper, git, refused, start, state, the_run, wait_for, write

# It draws from its seed, as training does, and does what `before(epoch)` says; REPEATED tells a verification.
TRAINS = """\
import json, os, pathlib, random, signal, sys, time
run, draw = pathlib.Path(os.environ["EXPER_RUN"]), random.Random(int(os.environ["EXPER_SEED"]))
REPEATED = ".verify" in run.parts
def before(epoch):
    {before}
def save(number, frame):
    (run / "saved").touch()
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
with open(run / "history.jsonl", "a") as history:
    for epoch in range(1, 6):
        before(epoch)
        weights = "%x" % draw.getrandbits(64)
        line = dict(epoch=epoch, step=1010 * epoch, weights=weights, seconds=time.time())
        line["val/loss"] = draw.random() + len(os.environ.get("MKL_CBWR", ""))
        history.write(json.dumps(line) + "\\n")
        history.flush()
metric = dict(last=dict(epoch=5), best=dict(), test=dict(epoch=5, acc=draw.random()))
(run / "statistic.json").write_text(json.dumps(dict(hparam=dict(lr=0.1), metric=metric)))
"""
FOREVER = "(run / 'pid').write_text(str(os.getpid())); (run / 'pid').rename(run / 'ready'); time.sleep(60)"


def prepare(project: paths.Project, before: str = "pass") -> None:
    """Commit a main.py that writes a history of 5 epochs."""
    write(project, main=TRAINS.format(before=before))


def trained(project: paths.Project, before: str = "pass", code: int = 0) -> paths.Run:
    """Return a run of 5 epochs."""
    prepare(project, before)
    exper(project, "run", "base", code=code)
    return the_run(project, "base/0")


@pytest.fixture(scope="module")
def _five_epochs(module_project: paths.Project) -> paths.Project:
    trained(module_project)
    return module_project


@pytest.fixture
def five_epochs(_five_epochs: paths.Project, tmp_path: Path) -> paths.Project:
    """Return a project with a finished run of 5 epochs, base/0."""
    return copy_project(_five_epochs, tmp_path / "it's a próject")


def verdict(project: paths.Project, *arguments: str, code: int = 1, **options: Any) -> str:
    """Verify base/0, and return what it finds."""
    found: str = exper(project, "verify", "base/0", *arguments, code=code, **options).stdout
    return found


def places(project: paths.Project) -> list[Path]:
    """Return the folders in which verifications train."""
    return sorted(project.verifications.glob("*"))


def edited(run: paths.Run, line: int, **changes: Any) -> None:
    """Change a line of a run's history."""
    lines = [json.loads(text) for text in run.history.read_text().splitlines()]
    lines[line] |= changes
    run.history.write_text("".join(json.dumps(one) + "\n" for one in lines))


@contextlib.contextmanager
def verifying(project: paths.Project) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Verify base/0 up to where its main.py waits; yield the process and that of main.py, and end both at the end."""
    verification = start(project, "verify", "base/0")
    training = 0
    try:
        wait_for(lambda: any((place / "ready").exists() for place in places(project)))
        training = int(next(place / "ready" for place in places(project)).read_text())
        yield verification, training
    finally:
        manager.end(verification, training)


# -- exact -------------------------------------------------------------------------------------------------------------


def test_a_run_is_exact_and_nothing_is_left(five_epochs: paths.Project) -> None:
    write(five_epochs, main="print('newer')")
    listed = exper(five_epochs, "expels", "base", "--json").stdout
    with manager.nothing_left(five_epochs):
        assert verdict(five_epochs, code=0) == "EXACT (5 epochs, 5,050 steps)\n"
    assert exper(five_epochs, "expels", "base", "--json").stdout == listed
    assert manager.finished(five_epochs) == ["base/0"]
    assert sorted(os.listdir(five_epochs.tag("base").folder)) == ["0", "last_id"]


def test_its_output_is_in_the_log_alone_and_it_has_the_recorded_threads(project: paths.Project) -> None:
    trained(project, "print('trains', os.environ['OMP_NUM_THREADS'])")
    edit_record(project, "base/0", threads=7)
    edited(the_run(project, "base/0"), 0, weights="x")
    assert "trains" not in verdict(project)
    (place,) = map(paths.Verification, places(project))
    first, line, *_ = place.log.read_text().splitlines()
    assert first.startswith("=== exper verify base/0: .verify/base-0-")
    assert line == "trains 7"


def test_it_ends_after_n_epochs(project: paths.Project) -> None:
    trained(project, f"if REPEATED and epoch == 4: {FOREVER}")
    assert verdict(project, "--epochs", "3", code=0) == "EXACT (3 of 5 epochs, 3,030 steps)\n"
    assert not places(project)
    edited(the_run(project, "base/0"), 3, weights="x")
    assert verdict(project, "--epochs", "2", code=0) == "EXACT (2 of 5 epochs, 2,020 steps)\n"


def test_as_many_epochs_as_there_are_are_all_and_the_results(five_epochs: paths.Project) -> None:
    run = the_run(five_epochs, "base/0")
    run.statistic.write_text(run.statistic.read_text().replace('"acc": 0', '"acc": 1'))
    for epochs in ("5", "99"):
        assert "DIFFERS after training: test.acc" in verdict(five_epochs, "--epochs", epochs)


@pytest.mark.parametrize(
    ("before", "ended"),
    [("if epoch == 3: sys.exit(1)", "failed"), ("if epoch == 3: os.kill(os.getpid(), 15)", "was interrupted")],
)
def test_a_run_that_did_not_finish_is_exact_as_far_as_it_went(project: paths.Project, before: str, ended: str) -> None:
    prepare(project, before)
    exper(project, "run", "base", code=1 if ended == "failed" else 143)
    assert verdict(project, code=0) == f"EXACT as far as base/0 went before it {ended} (2 epochs, 2,020 steps)\n"


def test_a_run_that_died_and_one_that_was_pruned(five_epochs: paths.Project) -> None:
    run = the_run(five_epochs, "base/0")
    run.history.write_text("".join(run.history.read_text().splitlines(keepends=True)[:2]))
    for stored, ended in (("running", "died"), ("pruned", "was pruned")):
        edit_record(five_epochs, "base/0", status=stored)
        assert f"before it {ended} (2 epochs" in verdict(five_epochs, code=0)


def test_a_history_with_nan_and_lines_of_steps(project: paths.Project) -> None:
    more = "history.write(json.dumps({'epoch': epoch, 'step': epoch, 'step/loss': float('nan')}) + '\\n')"
    trained(project, more)
    assert verdict(project, code=0) == "EXACT (5 epochs, 5,050 steps)\n"
    assert verdict(project, "--epochs", "1", code=0) == "EXACT (1 of 5 epochs, 1,010 steps)\n"


def test_a_run_without_history_is_compared_by_its_results(project: paths.Project) -> None:
    results = json.dumps({"metric": {"best": {"acc": 1}}})
    write(project, main=f"import os\nopen(os.environ['EXPER_RUN'] + '/statistic.json', 'w').write({results!r})")
    exper(project, "run", "base")
    assert verdict(project, code=0) == "EXACT (its results; it has no history)\n"
    run = the_run(project, "base/0")
    run.statistic.write_text(results.replace("1", "2"))
    assert "DIFFERS after training: best.acc\n  recorded  2\n  now       1\n" in verdict(project)


def test_a_test_by_evaluate_is_not_compared(five_epochs: paths.Project) -> None:
    run = the_run(five_epochs, "base/0")
    statistic = json.loads(run.statistic.read_text())
    statistic["metric"]["test"] = {"epoch": 3, "acc": 0.5}
    run.statistic.write_text(json.dumps(statistic))
    assert "DIFFERS after training: test.epoch" in verdict(five_epochs)
    run.evaluated(3).mkdir(parents=True)
    assert "that of epoch 3, and so not compared" in verdict(five_epochs, code=0)


# -- different ---------------------------------------------------------------------------------------------------------


def test_an_edited_line_is_found_with_both_values(project: paths.Project) -> None:
    run = trained(project, f"if REPEATED and epoch == 4: {FOREVER}")
    right = json.loads(run.history.read_text().splitlines()[2])["val/loss"]
    edited(run, 2, **{"val/loss": 0.25})
    os.utime(run.history, (2e9, 2e9))
    found = verdict(project)
    assert found.startswith(f"DIFFERS at epoch 3, step 3030: val/loss\n  recorded  0.25\n  now       {right}\n")
    assert "the weights are the same: only how they are measured has changed, or the record" in found
    assert "s after the run had ended: edited, or copied" in found
    (place,) = map(paths.Verification, places(project))
    assert f"its files, until the next verification: __result__/.verify/{place.folder.name}/" in found
    assert len(place.history.read_text().splitlines()) == 3
    assert (place.folder / "saved").exists()
    assert state(project, "base/0") == "finished"
    assert exper(project, "expls").stdout.count("base") == 1


def test_several_quantities_are_named_and_the_next_verification_sweeps(five_epochs: paths.Project) -> None:
    run = the_run(five_epochs, "base/0")
    edited(run, 0, weights="\x1b[31mred", **{"val/loss": 7})
    found = verdict(five_epochs)
    assert "DIFFERS at epoch 1, step 1010: weights\n  recorded  \\x1b[31mred\n" in found
    assert "  also      val/loss\n" in found
    (first,) = places(five_epochs)
    verdict(five_epochs)
    (second,) = places(five_epochs)
    assert first != second


def test_lines_that_are_missing_or_too_many(five_epochs: paths.Project) -> None:
    run = the_run(five_epochs, "base/0")
    whole = run.history.read_text()
    run.history.write_text("".join(whole.splitlines(keepends=True)[:4]))
    assert "DIFFERS at epoch 5, step 5050: the line of history\n  recorded  nothing\n" in verdict(five_epochs)
    run.history.write_text(whole + whole.splitlines()[-1].replace('"epoch": 5', '"epoch": 6') + "\n")
    found = verdict(five_epochs)
    assert "DIFFERS at epoch 6, step 5050: the line of history\n" in found
    assert "  now       nothing\n" in found


def test_an_edited_result_is_found(five_epochs: paths.Project) -> None:
    run = the_run(five_epochs, "base/0")
    statistic = json.loads(run.statistic.read_text())
    statistic["metric"]["test"]["acc"] = 0.99
    run.statistic.write_text(json.dumps(statistic))
    assert "DIFFERS after training: test.acc\n  recorded  0.99\n" in verdict(five_epochs)


def test_training_that_is_not_deterministic_is_known_at_the_second_time(project: paths.Project) -> None:
    trained(project, "draw.seed(time.time_ns())")
    found = verdict(project)
    assert "DIFFERS at epoch 1, step 1010: weights" in found
    assert "Verify it once more, and that is known." in found
    assert "so training is not deterministic" in verdict(project)


def test_a_record_that_was_changed_is_known_at_the_second_time(project: paths.Project) -> None:
    edited(trained(project), 1, weights="x")
    verdict(project)
    assert "the same value as this one, so training is deterministic" in verdict(project)


def test_a_variable_of_the_environment_is_named(five_epochs: paths.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    found = verdict(five_epochs)
    assert "DIFFERS at epoch 1, step 1010: val/loss" in found
    assert "  environment variable MKL_CBWR: not there -> AVX2\n" in found


def test_a_gpu_that_promises_no_bits_is_named(project: paths.Project) -> None:
    about = "json.dumps(dict(hparam={}, device=dict(name='GPU', deterministic=False)))"
    run = trained(project, f"(run / 'statistic.json').write_text({about}); REPEATED and epoch == 2 and time.sleep(60)")
    edited(run, 0, weights="x")
    assert "  deterministic = False: on a GPU the same bits are not promised\n" in verdict(project)


def test_where_code_that_no_tag_holds_may_come_from(
    project: paths.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(_environment(tmp_path / "environment")))
    (site,) = (tmp_path / "environment").glob("lib/*/site-packages")
    (site / "tiny-1.0.dist-info" / "direct_url.json").write_text('{"dir_info": {"editable": true}, "url": "file:///x"}')
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    edited(trained(project), 0, weights="x")
    found = verdict(project)
    assert "  the editable install of tiny: its code is not recorded\n" in found
    assert "  PYTHONPATH /somewhere: code from there is not recorded\n" in found


def test_one_that_fails_here_differs_and_names_its_log(project: paths.Project) -> None:
    trained(project, "assert not REPEATED or epoch < 3")
    found = verdict(project)
    assert "DIFFERS after epoch 2: the end\n  recorded  finished\n  now       failed (exit code 1)\n" in found
    log = found.partition("its log says why: ")[2].splitlines()[0]
    assert "AssertionError" in (project.root / log).read_text()


# -- refused -----------------------------------------------------------------------------------------------------------


def test_what_can_not_be_verified_is_refused_and_nothing_changes(five_epochs: paths.Project) -> None:
    run = the_run(five_epochs, "base/0")
    history = run.history.read_bytes()
    with manager.nothing_left(five_epochs):
        for arguments, said in [
            ((), "the following arguments are required: tag/id"),
            (("bse",), "Did you mean 'base'?"),
            (("base/7",), "there is no run base/7"),
            (("base/x",), "is no run"),
            (("untagged/0",), "no tag holds the code of untagged runs"),
            (("base/0", "--epochs", "0"), "write a whole number from 1 on"),
            (("base/0", "--epochs", "-1"), "write a whole number from 1 on"),
            (("base/0", "--epochs", "x"), "write a whole number from 1 on"),
        ]:
            assert said in refused(five_epochs, "verify", *arguments)
        run.history.write_bytes(b"")
        edit_record(five_epochs, "base/0", status="failed")
        assert "there is nothing to compare" in refused(five_epochs, "verify", "base/0")
        run.history.write_bytes(b"{\n{}\n")
        assert "line 1 is damaged" in refused(five_epochs, "verify", "base/0")
        run.history.write_bytes(history)
        run.statistic.write_text("{")
        assert "statistic.json is damaged" in refused(five_epochs, "verify", "base/0")
    exper(five_epochs, "rerun", "base")
    assert "has 2 runs" in refused(five_epochs, "verify", "base")
    git(five_epochs.root, "tag", "--force", "base", "HEAD~1")
    assert "git tag -f base" in refused(five_epochs, "verify", "base/0")


def test_a_live_run_and_one_of_a_newer_format(five_epochs: paths.Project) -> None:
    run = the_run(five_epochs, "base/0")
    held = lock.take(run.lock)
    assert held is not None
    edit_record(five_epochs, "base/0", status="running")
    assert "base/0 is running. Wait until it has ended." in refused(five_epochs, "verify", "base/0")
    os.close(held)
    edit_record(five_epochs, "base/0", format=99)
    assert "made by a newer Exper" in refused(five_epochs, "verify", "base/0")


def test_what_main_py_refuses_here(project: paths.Project) -> None:
    trained(project, "if REPEATED: (run / 'refused').write_text('there are no images.'); sys.exit(2)")
    with manager.nothing_left(project):
        assert "base/0 can't be repeated here. Its main.py says: there are no images." in refused(
            project, "verify", "base/0"
        )


# -- ends --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_nothing_is_left(project: paths.Project, number: signal.Signals) -> None:
    trained(project, f"if REPEATED and epoch == 3: {FOREVER}")
    with manager.nothing_left(project), verifying(project) as (verification, _):
        verification.send_signal(number)
        assert verification.wait(20) == 128 + number
        said = verification.communicate()[0]
        assert "stopped; until then it was exact (2 of 5 epochs, 2,020 steps)" in said


def test_killed_it_leaves_nothing_that_lies_and_the_next_one_sweeps(project: paths.Project) -> None:
    run = trained(project, f"if REPEATED and epoch == 3 and not (run.parents[2] / 'go').exists(): {FOREVER}")
    before = run.record.read_bytes()
    with verifying(project) as (verification, training):
        (place,) = map(paths.Verification, places(project))
        assert lock.is_held(place.lock)
        for pid in (verification.pid, training):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not lock.is_held(place.lock))
    assert (state(project, "base/0"), run.record.read_bytes()) == ("finished", before)
    assert status.read(place) == "died"
    assert "base  1 finished" in exper(project, "expls").stdout
    assert manager.finished(project) == ["base/0"]
    (project.root / "go").touch()
    assert verdict(project, code=0).startswith("EXACT (5 epochs")
    assert not places(project)


def test_a_run_that_is_removed_meanwhile_is_compared_to_the_end(project: paths.Project) -> None:
    is_to_wait = "REPEATED and epoch == 3 and not (run.parents[2] / 'go').exists()"
    run = trained(project, f"while {is_to_wait}: {FOREVER.replace('60', '0.1')}")
    edited(run, 4, **{"val/loss": 7.0})
    with verifying(project) as (verification, _):
        exper(project, "rm", "base/0", "--yes")
        (project.root / "go").touch()
        said = verification.communicate(timeout=20)[0]
    assert verification.returncode == 1
    assert "No such file" not in said
    assert "DIFFERS" in said


def test_two_at_a_time_have_places_of_their_own(project: paths.Project) -> None:
    trained(project, f"if REPEATED and epoch == 3 and not (run.parents[2] / 'go').exists(): {FOREVER}")
    with verifying(project) as (verification, _):
        (project.root / "go").touch()
        assert verdict(project, code=0).startswith("EXACT (5 epochs")
        assert len(places(project)) == 1
        verification.terminate()
        verification.wait(20)
    assert not places(project)


# -- the template ------------------------------------------------------------------------------------------------------

SMALL = ("verbose=quiet", "logger=[]", "threads=1")
SCALE = "return tiny.scale(own.scale(loss)) if reduction == "


@pytest.fixture
def real(
    project: paths.Project, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> paths.Project:
    """Return a project with a run of the template on digits, and one on images; trained once, a copy for each test.

    Their loss uses a package `tiny` of the environment, and a module `own` that PYTHONPATH leads to.
    """
    kept = tmp_path_factory.getbasetemp() / "verified"
    python = _environment(tmp_path / "environment")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "own.py").write_text("def scale(loss): return loss * 1.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(sys, "executable", str(python))
    if not kept.exists():
        code = Path(__file__).parents[2]
        ignored = shutil.ignore_patterns("tests", "__pycache__", "exper", "requirements.txt", "docs", "benchmarks")
        shutil.copytree(code, project.code, ignore=ignored, dirs_exist_ok=True)
        loss = project.code / "loss.py"
        text = loss.read_text()
        assert text.count("return loss if reduction == ") == 1
        loss.write_text(text.replace("return loss if reduction == ", SCALE) + "\n\nimport own\nimport tiny\n")
        pictures.classes(project.data / "zoo", 8)
        manager.commit(project)
        exper(project, "run", "base", "debug=True", *SMALL)
        zoo = "data={'name': 'image_folder', 'path': 'zoo', 'size': (8, 8), 'batch_size': 2, 'eval_batch_size': 2,"
        zoo += " 'split': {'val': 6, 'test': 6}}"
        three = "transform=[{'name': 'normalize', 'mean': [0.5, 0.5, 0.5], 'std': [0.5, 0.5, 0.5]}]"
        exper(project, "run", "zoo", *SMALL, "epochs=40", zoo, three)
        shutil.copytree(project.root, kept, symlinks=True)
    shutil.rmtree(project.root)
    shutil.copytree(kept, project.root, symlinks=True)
    return project


def _environment(folder: Path) -> Path:
    """Make an environment with the packages of this one and `tiny`; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/*/site-packages")
    ours = [path for path in sys.path if path.endswith("-packages")]
    (site / "ours.pth").write_text("".join(f"{path}\n" for path in ours))
    (site / "tiny.py").write_text("def scale(loss): return loss * 1.0\n")
    (site / "tiny-1.0.dist-info").mkdir()
    return folder / "bin" / "python"


def change(file: Path) -> None:
    """Change a line of code such that numbers differ a little."""
    file.write_text("def scale(loss): return loss * 1.000001\n")


def test_the_template_is_exact(real: paths.Project) -> None:
    assert verdict(real, code=0) == "EXACT (2 epochs, 8 steps)\n"
    assert json.loads(the_run(real, "base/0").statistic.read_text())["outside_code"].keys() == {"own"}


@manager.can_mount
def test_on_a_full_disk_it_says_nothing_of_the_run(project: paths.Project) -> None:
    (project.code / "large.py").write_bytes(os.urandom(200_000))
    trained(project)
    done, left = manager.on_a_small_disk(project, project.verifications, "verify", "base/0")
    assert done.returncode == 2, done.stderr
    assert "base/0 can't be repeated in" in done.stderr
    assert "No space left" in done.stderr
    assert left == []


def test_a_changed_line_of_code_outside_the_tag_is_named(real: paths.Project, tmp_path: Path) -> None:
    change(tmp_path / "elsewhere" / "own.py")
    found = verdict(real)
    assert "DIFFERS at epoch 1, step 4: train/loss\n" in found
    assert "likely causes:\n  code outside the tag, own: " in found
    exper(real, "rerun", "base/0", "-f")
    said = "not as recorded, so numbers may differ: outside_code own was"
    assert any(line.startswith(said) for line in manager.log(real, "base/1"))


def test_another_version_of_a_package_is_named(real: paths.Project, tmp_path: Path) -> None:
    (site,) = (tmp_path / "environment").glob("lib/*/site-packages")
    change(site / "tiny.py")
    (site / "tiny-1.0.dist-info").rename(site / "tiny-1.1.dist-info")
    found = verdict(real)
    assert "DIFFERS at epoch 1, step 4: train/loss\n" in found
    assert "likely causes:\n  version of tiny 1.0 -> 1.1\n" in found


def test_a_changed_byte_of_the_data_is_found_before_the_first_step(real: paths.Project) -> None:
    image = real.data / "zoo" / "cat" / "3.jpg"
    content = bytearray(image.read_bytes())
    content[-20] ^= 1
    image.write_bytes(content)
    found = exper(real, "verify", "zoo/0", code=1).stdout
    assert "DIFFERS before the first step: data fingerprint\n" in found
    assert "likely causes:\n  data fingerprint: " in found
    (place,) = map(paths.Verification, places(real))
    assert len(place.history.read_text().splitlines()) < 40
    assert json.loads(place.record.read_text())["status"] == "interrupted"


def test_another_number_of_threads_is_named(real: paths.Project) -> None:
    edit_record(real, "base/0", threads=2)
    found = verdict(real)
    assert "DIFFERS at epoch 1, step 4: " in found
    assert "likely causes:\n  device threads: 1 -> 2\n" in found


def test_the_device_is_named(real: paths.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    if json.loads(the_run(real, "base/0").statistic.read_text())["device"]["cpu_capability"] == "DEFAULT":
        pytest.skip("THIS CPU HAS NO OTHER CAPABILITY: that the device is named is not tested")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    found = verdict(real)
    assert "device cpu_capability: " in found
    assert "environment variable ATEN_CPU_CAPABILITY: not there -> default" in found
