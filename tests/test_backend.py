"""Work in other processes and on a cluster is the same work, whatever dies there.

Most tests use a Dask cluster of threads in this process; those of real workers are slow.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import dask
import numpy as np
import pytest
import soundfile
from conftest import music
from distributed import Client, LocalCluster
from drawing import full_bleed, levels
from joblib._parallel_backends import ThreadingBackend
from joblib.parallel import BACKENDS
from jobs import die_of_three, reciprocal, threads_of_torch

import gan.backend as backend_module
from gan.backend import Backend, WorkerLost
from gan.commands.main import main
from gan.data.building import Building
from gan.data.opening import open_store
from gan.data.store import ImageStore
from gan.errors import InputError
from gan.progress import Progress
from gan.sound import encoder
from gan.sound.codec import decode_image

RATE = 8000
GRID = ["--sample_rate", str(RATE), "--n_fft", "256", "--window_seconds", "1"]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Recordings of 1 to 5 windows in two folders, and two that are damaged."""
    folder = tmp_path / "recordings"
    for index in range(8):
        path = folder / str(index % 2) / f"{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, music(round((0.6 + 0.6 * index) * RATE), index, RATE), RATE)
    (folder / "1" / "text.wav").write_text("no sound")
    (folder / "1" / "empty.wav").touch()
    return folder


@pytest.fixture
def threads_as_cluster() -> Iterator[str]:
    """The address of a scheduler with two workers that are threads of this process."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """A cluster of two processes."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        yield cluster


def files(folder: Path) -> dict[str, bytes]:
    """All files of a folder tree, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def frames(store: ImageStore) -> dict[str, tuple[object, bytes]]:
    """What a store has of each image, wherever in its frames that is."""
    return {
        image.file: (
            (image.sha256, image.level_db, image.recording, image.start_second, image.look),
            store.codes(index, 0, image.n_frames).tobytes(),
        )
        for index, image in enumerate(store.images)
    }


def encode(recordings: Path, images: Path, *options: str) -> int:
    return main(["encode", str(recordings), str(images), *GRID, *options])


def assert_encodes_alike(recordings: Path, capsys: pytest.CaptureFixture[str], *options: str) -> None:
    here, there = recordings.parent / "here", recordings.parent / "there"
    soundfile.write(recordings / f"{'n' * 246}.wav", music(4000), 8000)
    soundfile.write(recordings / "antiphase.wav", np.stack([music(4000), -music(4000)], 1), 8000)
    assert encode(recordings, here) == 1
    expected = capsys.readouterr()
    assert encode(recordings, there, *options) == 1
    output = capsys.readouterr()
    assert output.out == expected.out.replace(str(here), str(there))
    assert output.err == expected.err.replace(str(here), str(there))
    assert "antiphase.wav: the mix is " in output.err
    assert ".wav.0000.png: cannot be written (File name too long)" in output.err
    assert len(files(here)) == 26
    assert files(there) == files(here)
    # A second run keeps all of it.
    assert encode(recordings, there, *options) == 1
    assert "9 recordings are 26 images" in (output := capsys.readouterr()).out
    assert "(26 were there already)" in output.out
    assert files(there) == files(here)


def assert_ingests_alike(images: Path, capsys: pytest.CaptureFixture[str], *options: str) -> None:
    here, there = images.parent / "store", images.parent / "store_there"
    (images / "bad.png").write_bytes((images / "0.png").read_bytes()[:500])
    assert main(["ingest", str(images), str(here)]) == 1
    expected = capsys.readouterr()
    assert main(["ingest", str(images), str(there), *options]) == 1
    output = capsys.readouterr()
    assert output.out == expected.out.replace(str(here), str(there))
    assert output.err == expected.err
    assert frames(ImageStore(there)) == frames(ImageStore(here))
    assert ImageStore(there).skipped == ImageStore(here).skipped
    assert ImageStore(there).kind == ImageStore(here).kind


def test_a_cluster_encodes_what_threads_encode(recordings, threads_as_cluster, capsys):
    assert_encodes_alike(recordings, capsys, "--backend", "dask", "--scheduler", threads_as_cluster)


def test_processes_encode_what_threads_encode(recordings, capsys):
    assert_encodes_alike(recordings, capsys, "--backend", "loky", "--n_jobs", "2")


def test_a_cluster_ingests_what_threads_ingest(tmp_path, write_image, threads_as_cluster, capsys):
    for index in range(12):
        write_image(tmp_path / "images" / f"{index}.png", 20 + index, seed=index)
    assert_ingests_alike(tmp_path / "images", capsys, "--backend", "dask", "--scheduler", threads_as_cluster)


def test_processes_ingest_what_threads_ingest(tmp_path, write_image, capsys):
    for index in range(12):
        write_image(tmp_path / "images" / f"{index}.png", 20 + index, seed=index)
    assert_ingests_alike(tmp_path / "images", capsys, "--backend", "loky", "--n_jobs", "2")


def test_relative_paths(recordings, threads_as_cluster, monkeypatch):
    monkeypatch.chdir(recordings.parent)
    options = ["--backend", "dask", "--scheduler", threads_as_cluster]
    assert encode(Path("recordings"), Path("images"), *options) == 1
    monkeypatch.chdir(recordings)
    assert encode(Path(), Path("../other")) == 1
    assert files(recordings.parent / "images") == files(recordings.parent / "other")


def test_a_client_or_its_settings_say_the_scheduler(recordings, tmp_path, threads_as_cluster, monkeypatch):
    with Client(threads_as_cluster):
        assert encode(recordings, tmp_path / "a", "--backend", "dask") == 1
    with dask.config.set({"scheduler-address": threads_as_cluster}):
        assert encode(recordings, tmp_path / "b", "--backend", "dask") == 1
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_stopped_store_goes_on_elsewhere(tmp_path, write_image, threads_as_cluster, monkeypatch):
    for index in range(12):
        write_image(tmp_path / "images" / f"{index}.png", 20 + index, seed=index)
    dask = Backend("dask", threads_as_cluster)
    add, n_added = Building.add, 0

    def stop_after_five(self, decoded):
        nonlocal n_added
        if n_added == 5:
            raise KeyboardInterrupt
        n_added += 1
        add(self, decoded)

    with monkeypatch.context() as patched:
        patched.setattr(Building, "add", stop_after_five)
        with pytest.raises(KeyboardInterrupt):
            open_store(tmp_path / "images", tmp_path / "store", backend=dask)
    n_added = -100
    with monkeypatch.context() as patched:
        patched.setattr(Building, "add", stop_after_five)
        store = open_store(tmp_path / "images", tmp_path / "store", backend=dask)
    assert n_added == -100 + 7
    assert frames(store) == frames(open_store(tmp_path / "images", tmp_path / "other"))
    # What has not changed is not read again, and nobody is asked.
    write_image(tmp_path / "images" / "0.png", 30, seed=50)
    asked = []
    with monkeypatch.context() as patched:
        work_through = Backend.work_through
        patched.setattr(
            Backend, "work_through", lambda self, jobs, work: work_through(self, asked.append(jobs) or jobs, work)
        )
        store = open_store(tmp_path / "images", tmp_path / "store", backend=dask)
    assert [source.file for jobs in asked for source in jobs] == ["0.png"]
    assert frames(store) == frames(open_store(tmp_path / "images", tmp_path / "anew"))


def test_stopped_by_hand(recordings, tmp_path, threads_as_cluster, monkeypatch, capsys):
    images = tmp_path / "images"
    soundfile.write(recordings / "0" / "0.wav", music(120 * RATE, 0, RATE), RATE)
    encode_image, encode_recording = encoder.encode_image, encoder._encode_recording
    begun, ended = [], []

    def slowly(*arguments):
        time.sleep(0.1)
        return encode_image(*arguments)

    def watched(path, *arguments):
        begun.append(path)
        try:
            return encode_recording(path, *arguments)
        finally:
            ended.append(path)

    def interrupt(*arguments, **others):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "advance", interrupt)
        patched.setattr(encoder, "encode_image", slowly)
        patched.setattr(encoder, "_encode_recording", watched)
        assert encode(recordings, images, "--backend", "dask", "--scheduler", threads_as_cluster) == 130
        told = "gan encode: stopped; what is complete is kept, the same command goes on\n"
        assert capsys.readouterr().err == told
        # The worker that was at the long one sees it, and completes the image that it is at.
        while len(ended) < len(begun):
            time.sleep(0.01)
        assert recordings / "0" / "0.wav" in begun
        left = files(images)
    assert 0 < len(left) < 100
    for name in left:
        decode_image(images / name)
    assert encode(recordings, images) == 1
    assert len(files(images)) == 24 + 120


def test_a_full_disk_ends_all_work(recordings, tmp_path, threads_as_cluster, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encoder, "encode_image", full)
    assert encode(recordings, tmp_path / "images", "--backend", "dask", "--scheduler", threads_as_cluster) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot be written (No space left on device); what is complete is kept" in error


def test_an_error_of_ours_is_told_with_its_place(threads_as_cluster):
    with (
        pytest.raises(ZeroDivisionError) as caught,
        closing(Backend("dask", threads_as_cluster).work_through([1, 0], reciprocal)) as results,
    ):
        list(results)
    assert "in reciprocal" in caught.value.__notes__[0]


def assert_only_three_is_lost(backend: Backend) -> None:
    with closing(backend.work_through(range(12), die_of_three)) as work:
        results = dict(work)
    assert isinstance(results.pop(3), WorkerLost)
    assert results == {number: number**2 for number in range(12) if number != 3}


def test_a_job_that_kills_its_process_is_lost_alone():
    assert_only_three_is_lost(Backend("loky", n_jobs=2))


def test_processes_leave_each_other_a_core():
    with closing(Backend("loky", n_jobs=2).work_through(range(4), threads_of_torch)) as work:
        seen = [result for _, result in work]
    assert {n_threads for _, n_threads in seen} == {1}
    assert os.getpid() not in {process for process, _ in seen}


def test_what_cannot_be_done_is_said(recordings, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(backend_module, "_DASK_SECONDS", 1)
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    for options, message in (
        (["--backend", "dask"], "dask: which scheduler? Run `dask scheduler` on one machine and `dask worker tcp://"),
        (["--backend", "dask", "--scheduler", "tcp://127.0.0.1:1"], "tcp://127.0.0.1:1: no scheduler of dask answers"),
        (["--backend", "dask", "--scheduler", "a:b:c"], "a:b:c: no scheduler of dask answers (invalid address"),
        (["--scheduler", "tcp://127.0.0.1:1"], "but the backend is threading; give --backend dask or ray"),
        (["--backend", "loky", "--scheduler", "tcp://127.0.0.1:1"], "but loky has none; use dask or ray"),
        (["--n_jobs", "0"], "n_jobs is 0; it must be 1 or more, or -1"),
        (["--backend", "loky", "--n_jobs", "0"], "n_jobs is 0; it must be 1 or more, or -1"),
    ):
        for verb in ("encode", "ingest"):
            folders = (recordings, tmp_path / "images") if verb == "encode" else (recordings, tmp_path / "store")
            if verb == "ingest":
                (recordings / "a.png").write_bytes(b"")
                (recordings / "b.jpg").write_bytes(b"")
            assert main([verb, *map(str, folders), *options]) == 2
            output = capsys.readouterr()
            assert output.err.startswith(f"gan {verb}: ")
            assert message in output.err
            assert output.err.count("\n") == 1
            assert output.out == ""
    assert files(tmp_path / "images") == {}
    for name, message in (("distributed", "pip install 'spectrogram-gan[cluster]'"), ("ray", "pip install 'ray'")):
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, name, None)
            backend = "ray" if name == "ray" else "dask"
            assert encode(recordings, tmp_path / "images", "--backend", backend) == 2
            assert f"{backend} is not installed; {message}, here and on all workers" in capsys.readouterr().err


def test_a_scheduler_without_workers_is_said(monkeypatch):
    monkeypatch.setattr(backend_module, "_WORKER_SECONDS", 0.2)
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster:
        work = Backend("dask", cluster.scheduler_address).work_through([1], reciprocal)
        with pytest.raises(
            InputError, match=r"no worker for 0\.2 s; what is complete is kept: start some with `dask worker i"
        ):
            next(work)


@pytest.mark.parametrize("resources", [{}, {"CPU": 0.5}, {"CPU": 2.0}])
def test_a_ray_without_processors_yet_does_all_jobs(monkeypatch, resources):
    ray = SimpleNamespace(
        is_initialized=lambda: True,
        cluster_resources=lambda: resources,
        exceptions=SimpleNamespace(RayError=ConnectionError),
    )
    asked = []

    class Bridge(ThreadingBackend):
        """Ray's asks for processors that may not be there."""

        def effective_n_jobs(self, n_jobs):
            asked.append(n_jobs)
            return int(resources["CPU"]) if n_jobs < 0 else n_jobs

    for name, module in {
        "ray": ray,
        "ray.util": SimpleNamespace(),
        "ray.util.joblib": SimpleNamespace(register_ray=lambda: None),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(BACKENDS, "ray", Bridge)
    with closing(Backend("ray").work_through(range(1, 15), reciprocal)) as work:
        assert dict(work) == {number: 1 / number for number in range(1, 15)}
    assert set(asked) == {int(max(1, resources.get("CPU", 0)))}


class Elsewhere(Backend):
    """A machine that sees no files of this one."""

    def work_through(self, jobs, work):
        for job in jobs:
            yield job, "elsewhere"


def test_folders_that_are_not_shared_are_said(recordings, tmp_path, write_image):
    write_image(tmp_path / "images" / "a.png")
    with pytest.raises(InputError, match=r"a\.png: not to be seen on elsewhere; pictures must be in a folder that all"):
        open_store(tmp_path / "images", tmp_path / "store", backend=Elsewhere("dask"))
    # Nothing of that is kept: the file itself is not to blame.
    assert len(open_store(tmp_path / "images", tmp_path / "store").images) == 1
    cut = encoder._Cut(recordings, tmp_path / "new", encoder.SpectrogramSettings(RATE, 256, 64, 256), RATE, RATE, False)
    with pytest.raises(InputError, match=r"new: not to be seen on .*; recordings and images must be in folders that"):
        encoder._encode_as_worker(recordings / "0" / "0.wav", cut, tmp_path / "new" / ".encode.x.part")
    assert not (tmp_path / "new").exists()
    images = tmp_path / "new"
    images.mkdir()
    (images / "mark").touch()
    report = encoder._encode_as_worker(recordings / "gone.wav", cut, images / "mark")
    assert report.n_recordings == 0
    assert report.skipped[0].startswith(f"{recordings / 'gone.wav'}: cannot be opened on ")
    assert report.skipped[0].endswith("(No such file or directory)")


class Deadly(Backend):
    """Workers that die of one file."""

    def work_through(self, jobs, work):
        for job in jobs:
            yield job, WorkerLost() if job.file == "b.png" else work(job)


def test_a_picture_whose_workers_died_is_tried_again(tmp_path, write_image):
    images, folder = tmp_path / "images", tmp_path / "store"
    for index, name in enumerate("abc"):
        write_image(images / f"{name}.png", seed=index)
    for again in (False, True):
        store = open_store(images, folder, backend=Deadly("dask"), again=again)
        assert [image.file for image in store.images] == ["a.png", "c.png"]
        assert store.skipped == [f"{images / 'b.png'}: {WorkerLost()}; `gan ingest` tries it again"]
    assert len(open_store(images, folder).images) == 2
    assert frames(open_store(images, folder, again=True)) == frames(open_store(images, tmp_path / "anew"))


def test_help_imports_no_cluster():
    script = "import sys, gan.commands.encode, gan.commands.ingest\n"
    script += "assert not {'dask', 'distributed', 'ray', 'joblib._dask'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parent.parent)


@pytest.mark.slow
def test_workers_encode_and_ingest_what_threads_do(recordings, tmp_path, cluster, capsys):
    options = ["--backend", "dask", "--scheduler", cluster.scheduler_address]
    assert_encodes_alike(recordings, capsys, *options)
    figures = tmp_path / "figures"
    figures.mkdir()
    for index in range(6):
        full_bleed(figures / f"{index}.png", levels(64, 50, index), (150, 132))
    assert_ingests_alike(figures, capsys, *options)
    assert len(ImageStore(tmp_path / "store_there").images) == 6


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing(tmp_path, cluster, capsys):
    recordings, images = tmp_path / "recordings", tmp_path / "images"
    recordings.mkdir()
    for index in range(40):
        soundfile.write(recordings / f"{index:02d}.wav", music(20 * RATE, index, RATE), RATE)
    process = subprocess.Popen(
        [sys.executable, "-m", "gan", "encode", recordings, images, *GRID, "--backend", "dask"],
        env={**os.environ, "DASK_SCHEDULER_ADDRESS": cluster.scheduler_address},
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        while len(list(images.glob("*.png"))) < 30:
            assert process.poll() is None
            time.sleep(0.02)
        with Client(cluster) as client:
            workers = client.run(os.getpid)
        n_images = len(list(images.glob("*.png")))
        assert 30 <= n_images < 800
        os.kill(next(iter(workers.values())), signal.SIGKILL)
        output, _ = process.communicate(timeout=500)
    assert process.returncode == 0
    assert output.startswith(f"40 recordings are 800 images in {images}")
    assert encode(recordings, tmp_path / "here") == 0
    assert files(images) == files(tmp_path / "here")


@pytest.mark.slow
def test_a_job_is_not_lost_by_what_was_done_beside_it():
    # One worker, so that what else is being done there shares the blame for each of its deaths.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}),
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=":0") as cluster,
    ):
        assert_only_three_is_lost(Backend("dask", cluster.scheduler_address))


@pytest.mark.slow
def test_a_recording_that_kills_every_worker_is_skipped(recordings, tmp_path, write_image, capsys):
    # What a file may do to a worker whose memory is small.
    preload = tmp_path / "dies_of_seven.py"
    preload.write_text(
        "import os, signal\n"
        "import gan.data.source as source\n"
        "import gan.sound.encoder as encoder\n"
        "def deadly(work):\n"
        "    def die_of_seven(path, *arguments):\n"
        "        if path.name.startswith('7.'):\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return work(path, *arguments)\n"
        "    return die_of_seven\n"
        "encoder.encode_image = deadly(encoder.encode_image)\n"
        "source.read_codes = deadly(source.read_codes)\n"
    )
    images, store = tmp_path / "images", tmp_path / "store"
    for index in range(12):
        write_image(tmp_path / "pictures" / f"{index}.png", 20 + index, seed=index)
    # A local cluster looks 15 s after a death, and gives up a worker that is just starting again.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", preload=[str(preload)]) as cluster,
    ):
        options = ["--backend", "dask", "--scheduler", cluster.scheduler_address]
        assert encode(recordings, images, *options) == 1
        output = capsys.readouterr()
        assert f"skipped {recordings / '1' / '7.wav'}: the workers that were given it died" in output.err
        assert "the same command tries again" in output.err
        assert output.err.splitlines()[-1] == "3 recordings were skipped"
        assert main(["ingest", str(tmp_path / "pictures"), str(store), *options]) == 1
        assert "7.png: the workers that were given it died" in capsys.readouterr().err
        assert_only_three_is_lost(Backend("dask", cluster.scheduler_address))
    assert encode(recordings, images) == 1
    assert encode(recordings, tmp_path / "here") == 1
    assert files(images) == files(tmp_path / "here")
    # A training takes the store as it is, and the next `gan ingest` tries again what was left out.
    assert [image.file for image in open_store(tmp_path / "pictures", store).images].count("7.png") == 0
    assert main(["ingest", str(tmp_path / "pictures"), str(store)]) == 0
    assert frames(open_store(tmp_path / "pictures", store)) == frames(
        open_store(tmp_path / "pictures", tmp_path / "anew")
    )
