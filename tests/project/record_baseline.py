"""Record everything observable of the program, so that two commits can be compared bit for bit.

    python -m tests.project.record_baseline OUT_FOLDER     # in the root of a checkout
    python -m tests.project.record_baseline --compare A B  # exit code 1 if anything differs

The file also runs as a plain script from anywhere, with a checkout's root as working directory.
It uses commands, run folders, SavedModels, `tfrecords.reader` and `bladerunner_ae.client` only,
never a module that may move. Each section has a strict part, which must be equal, and wording,
whose differences are only reported. TensorFlow runs on one thread, so that results depend neither
on the number of cores nor on what else the machine does.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import difflib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from pathlib import Path
from typing import Any

ROOT = Path.cwd()
# How much TensorFlow says and whether it takes oneDNN is for the commands to set, not for us.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in QUIET} | {
    "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1", "COLUMNS": "100",
    "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1",
}  # fmt: skip
TOOLS = ("make_tfrecords", "inspect_records", "reassemble_film", "make_film")
MODULES = ("train", "export", "evaluate", "report", "serve")
JOBS = 2
FILM_SECONDS = 1_700_000_000  # the films' time of last change
SHOWN = 6  # differences of a section that --compare prints

# What differs between two runs of the same commit, in texts.
VOLATILE = (
    (r"(?m)^.*\b\d+/\d+ (steps|frames) \(\d+ %\).*\n", ""),  # progress: how often, how fast
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?", "DATE"),
    (r"\b(127\.0\.0\.1|localhost):\d+", "HOST:PORT"),  # free ports
    (r"(?m)\bin \d+(\.\d+)? (s|ms)$", "in N s"),
    (r"0x[0-9a-f]{6,}", "ADDRESS"),
    (r"(?m)^([IWEF])\d{4} \d\d:\d\d:\d+\.\d+ +\d+ ", r"\1 "),  # TensorFlow's own lines
)
# Values of JSON files that change with the release, the machine or the clock.
BLANKED = {"tool_version", "mtime_ns"}

TRAIN = (
    "--preset=preview --strategy=none --device=cpu --precision=float32 --steps=4 --batch_size=4 "
    "--seed=1 --checkpoint_every=2 --sample_every=4 --log_every=1"
)
SIZE = "--height=24 --width=32 --num_shards=4"

# In the tables below a line is a name and a command line, in which WORK is the scratch folder.
CONVERSIONS = f"""
plain: --film=WORK/plain.mp4 {SIZE}
interlaced: --film=WORK/interlaced.mp4 {SIZE}
fields: --film=WORK/interlaced.mp4 --deinterlace=off --quality=60 {SIZE}
rotated: --film=WORK/rotated.mp4 --fit=cover {SIZE}
hdr: --film=WORK/hdr.mp4 {SIZE}
vfr: --film=WORK/vfr.mp4 {SIZE}
jump: --film=WORK/jump.ts {SIZE}
bars: --film=WORK/bars.mp4 --crop_bars=12:12:0:0 {SIZE}
bars_found: --film=WORK/bars.mp4 --pixels=2000 --multiple=8
images: --film=WORK/images --frame_rate=25 --format=png {SIZE}
excerpt: --film=WORK/plain.mp4 --start=1.5 --duration=2 --fit=stretch {SIZE}
one_thread: --film=WORK/plain.mp4 --threads=1 {SIZE}
two_threads: --film=WORK/plain.mp4 --threads=2 {SIZE}
"""
# So large that there is time to kill it.
SLOW = "--film=WORK/plain.mp4 --height=540 --width=960 --num_shards=6 --format=png --threads=1"

RUNS = f"""
preview: --flagfile=flagfiles/preview.flags --data=WORK/data/plain {TRAIN} --holdout=0.3 \\
    --evaluate_every=4
vae: --flagfile=flagfiles/vae.flags --data=WORK/data/plain {TRAIN} --noreport
vae_gan: --flagfile=flagfiles/vae_gan.flags --data=WORK/data/plain {TRAIN} --noreport
patch_gan: --flagfile=flagfiles/patch_gan.flags --data=WORK/data/plain {TRAIN} --noreport
broad2016: --flagfile=flagfiles/broad2016.flags --data=WORK/data/plain {TRAIN} --noreport
many_options: --objective=dream --data=WORK/data/plain --data=WORK/data/vfr --data_weights=2,1 \\
    {TRAIN} --balance=shots --cache_limit=0 --adversarial_weight=0.002 --adversarial_start=0 \\
    --adversarial_ramp=0 --feature_weight=0.1 --r1_weight=1 --free_bits=0.1 --ema=0.9 \\
    --augment=0.5 --latent=spatial --resize=upsample --steps_per_execution=2 --clip_norm=1 \\
    --noreport
"""
FINE_TUNED = f"--data=WORK/data/vfr {TRAIN} --fine_tune_from=WORK/runs/preview --noreport"
RESUMED = ("many_options",)
ANSWERING = ("preview", "many_options")  # runs whose exports answer a fixed input

DREAMS = """
plain.mp4: --film=WORK/plain.mp4 --data=WORK/data/plain --side_by_side
jump.mkv: --film=WORK/jump.ts --max_height=48 --crf=30 --preset=ultrafast
bars.mov: --film=WORK/bars.mp4 --keep_raster --fit=cover
images.mp4: --film=WORK/images --frame_rate=25 --crop_bars=none
"""

WRONG = f"""
no flags of a conversion: make_tfrecords
missing film: make_tfrecords --film=WORK/none.mp4 --output_dir=WORK/x
text as a film: make_tfrecords --film=setup.cfg --output_dir=WORK/x
empty folder as a film: make_tfrecords --film=WORK/empty --output_dir=WORK/x
film of sound: make_tfrecords --film=WORK/sound.m4a --output_dir=WORK/x
film cut short: make_tfrecords --film=WORK/cut.mp4 --output_dir=WORK/x
unknown flag: make_tfrecords --film=WORK/plain.mp4 --no_such_flag=1
words for a number: make_tfrecords --film=WORK/plain.mp4 --height=tall
negative height: make_tfrecords --film=WORK/plain.mp4 --output_dir=WORK/x --height=-3 --width=4
unknown format: make_tfrecords --film=WORK/plain.mp4 --output_dir=WORK/x --format=gif
start behind the end: make_tfrecords --film=WORK/plain.mp4 --output_dir=WORK/x --start=99
file as output folder: make_tfrecords --film=WORK/plain.mp4 --output_dir=WORK/plain.mp4
one film of two missing: make_tfrecords --film=WORK/none.mp4 --film=WORK/plain.mp4 \\
    --output_dir=WORK/two {SIZE}
records already there: make_tfrecords --film=WORK/plain.mp4 --output_dir=WORK/data {SIZE}
records of other options: make_tfrecords --film=WORK/plain.mp4 --output_dir=WORK/data --quality=1
no records to inspect: inspect_records
missing records: inspect_records WORK/none
damaged records: inspect_records --verify WORK/damaged
sheet that is no PNG: inspect_records WORK/data/plain --contact_sheet=WORK/a.gif
no film to dream: reassemble_film --model=WORK/runs/preview --output=WORK/o.mp4
unknown kind of film: reassemble_film --film=WORK/plain.mp4 --model=WORK/runs/preview \\
    --output=WORK/o.avi
missing model: reassemble_film --film=WORK/plain.mp4 --model=WORK/none --output=WORK/o.mp4
missing film to make: make_film --film=WORK/none.mp4 --output_dir=WORK/x
impossible part held out: make_film --film=WORK/plain.mp4 --holdout=2
no data to train on: train --model_dir=WORK/x
missing data: train --data=WORK/none --model_dir=WORK/x
unknown objective: train --data=WORK/data/plain --model_dir=WORK/x --objective=none
negative steps: train --data=WORK/data/plain --model_dir=WORK/x --steps=-1
run of another objective: train --data=WORK/data/plain --model_dir=WORK/runs/vae {TRAIN} \\
    --objective=dream
weight of another objective: train --data=WORK/data/plain --model_dir=WORK/x --objective=vae \\
    --gamma=1
plan of the paper's model: train --flagfile=flagfiles/blade_runner.flags --model_dir=WORK/x \\
    --data=WORK/data/plain --dry_run
missing flagfile: train --flagfile=WORK/none.flags
export without a run: export --model_dir=WORK/none
evaluation without a model: evaluate --data=WORK/data/plain
records of another size: evaluate --model=WORK/runs/preview --data=WORK/data/bars_found
report of no model: report --model=WORK/empty --data=WORK/data/plain
serving nothing: serve --model=WORK/none
serving a film: serve --model=WORK/plain.mp4
port beyond all: serve --model=WORK/runs/preview --port=99999
"""

# Requests below /v1/models/, or at a path from the root; what follows the path is the body.
REST = """
GET decoder
GET decoder/versions/1
GET decoder/versions/9
GET decoder/versions/x
GET decoder/labels/stable
GET decoder/metadata
GET decoder/versions/2/metadata
GET decoder/labels/stable/metadata
GET encoder/metadata
GET autoencoder/metadata
GET small/metadata
GET none
GET none/metadata
GET decoder:predict
GET ?x=1
GET /nothing
GET /
GET /explorer/film.json
GET /explorer/none
GET /monitoring/prometheus/metrics
PUT decoder:predict {"instances": [1, 2]}
DELETE decoder
HEAD decoder
POST decoder {"instances": [1, 2]}
POST decoder:nothing {"instances": [1, 2]}
POST decoder:predict {"signature_name": "sample", "instances": [1, 2]}
POST d%65coder:predict {"signature_name": "sample", "instances": [1, 2]}
POST decoder/versions/1:predict {"signature_name": "sample", "instances": [1, 2]}
POST decoder/versions/2:predict {"signature_name": "sample", "instances": [1, 2]}
POST decoder/versions/3:predict {"signature_name": "sample", "instances": [1, 2]}
POST decoder/labels/stable:predict {"signature_name": "sample", "instances": [1, 2]}
POST decoder/labels/none:predict {"signature_name": "sample", "instances": [1, 2]}
POST none:predict {"signature_name": "sample", "instances": [1, 2]}
POST encoder:predict {"signature_name": "sample", "instances": [1, 2]}
POST decoder:predict {"signature_name": "sample", "instances": [{"seed": 3}]}
POST decoder:predict {"signature_name": "sample", "inputs": {"seed": [1, 2]}}
POST decoder:predict {"signature_name": "sample", "inputs": [4611686018427387904]}
POST decoder:predict {"signature_name": "sample", "instances": [1.5]}
POST decoder:predict {"signature_name": "sample", "instances": ["a"]}
POST decoder:predict {"signature_name": 3, "instances": [1]}
POST decoder:predict {"signature_name": "none", "instances": [LATENT]}
POST decoder:predict {"signature_name": "decode", "instances": [LATENT]}
POST decoder:predict {"signature_name": "decode_float", "instances": [LATENT]}
POST decoder:predict {"signature_name": "decode_png_bytes", "instances": [LATENT]}
POST decoder:predict {"instances": [LATENT]}
POST decoder:predict {"inputs": [LATENT, LATENT]}
POST decoder:predict {"instances": [MANY_LATENTS]}
POST decoder:predict {"instances": [[1, 2]]}
POST decoder:predict {"instances": [["a", "b"]]}
POST decoder:predict {"instances": [[NaN]]}
POST decoder:predict {"instances": []}
POST decoder:predict {"instances": 1}
POST decoder:predict {"inputs": []}
POST decoder:predict {"inputs": [LATENT], "instances": [LATENT]}
POST decoder:predict {}
POST decoder:predict [1]
POST decoder:predict {
POST decoder:predict garbage
POST decoder:predict TOO_LARGE
POST decoder:predict
POST encoder:predict {"instances": IMAGES}
POST encoder:predict {"signature_name": "encode_bytes", "inputs": [PNG]}
POST encoder:predict {"signature_name": "encode_bytes", "instances": [{"b64": "bm9uZQ=="}]}
POST encoder:predict {"signature_name": "encode_bytes", "instances": [{"b64": "?"}]}
POST encoder:predict {"signature_name": "encode_bytes", "instances": ["text"]}
POST autoencoder:predict {"inputs": {"image": IMAGES}}
POST autoencoder:predict {"signature_name": "reconstruct_bytes", "instances": [PNG, PNG]}
POST small:predict {"instances": [{"a": 1, "b": [0.5, 1]}, {"a": 2, "b": [0, 1]}]}
POST small:predict {"inputs": {"a": [1, 2], "b": [[1, 2], [3, 4]]}}
POST small:predict {"inputs": {"a": [1]}}
POST small:predict {"instances": [{"a": 1, "b": [0.5, 1], "c": 1}]}
POST small:predict {"instances": [{"a": 1, "b": [0.5, 1]}, {"a": 1}]}
POST small:predict {"signature_name": "words", "instances": [{"text": "\u00e9", "flag": true}]}
POST small:predict {"signature_name": "words", "inputs": {"text": [{"b64": "/w=="}], "flag": [0]}}
POST small:predict {"signature_name": "scalar", "inputs": 2}
POST decoder:classify {"examples": [{"x": 1}]}
POST decoder:regress {"examples": [{"x": 1}]}
POST decoder:classify {"a": 1}
"""


def table(text: str) -> dict[str, tuple[str, ...]]:
    """Return a table's command lines by their names."""
    lines = text.replace("\\\n", " ").strip().splitlines()
    return {name: tuple(words.split()) for name, _, words in (x.partition(": ") for x in lines)}


def digest(data: bytes) -> str:
    """Return the first half of the SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()[:32]


def file_digests(folder: Path, pattern: str) -> dict[str, str]:
    """Return the digests of a folder's files by their path in it."""
    return {
        str(p.relative_to(folder)): digest(p.read_bytes()) for p in sorted(folder.glob(pattern))
    }


def array_facts(value: Any) -> list[Any]:
    """Return dtype, shape and digest of an array."""
    data = repr(value.tolist()).encode() if value.dtype == object else value.tobytes()
    return [str(value.dtype), list(value.shape), digest(data)]


def without(value: Any, names: Iterable[str] = BLANKED) -> Any:
    """Return JSON values with those of some names blanked, at any depth."""
    if isinstance(value, dict):
        return {k: "blank" if k in names else without(v, names) for k, v in value.items()}
    return [without(entry, names) for entry in value] if isinstance(value, list) else value


class Recorder:
    """Runs commands in a scratch folder and gathers what they do, by section."""

    def __init__(self, out: Path) -> None:
        self.out, self.work = out, out / "work"
        shutil.rmtree(out, ignore_errors=True)
        (self.work / "empty").mkdir(parents=True)
        self.sections: dict[str, dict[str, dict[str, Any]]] = {}

    def section(self, name: str) -> dict[str, Any]:
        """Return the strict part of a section."""
        return self.sections.setdefault(name, {"strict": {}, "wording": {}})["strict"]

    def say(self, section: str, name: str, text: str) -> None:
        """Add a text whose differences are only reported."""
        self.section(section)
        self.sections[section]["wording"][name] = self.clean(text)

    def clean(self, text: str) -> str:
        """Return a text without what depends on the place, the time or the load."""
        text = text.replace(str(self.work), "WORK").replace(str(ROOT), "ROOT")
        text = text.replace("\r", "\n")
        for pattern, replacement in VOLATILE:
            text = re.sub(pattern, replacement, text)
        return text

    def json(self, text: str) -> Any:
        """Return parsed JSON, cleaned."""
        return without(json.loads(text.replace(str(self.work), "WORK")))

    def arguments(self, command: str, *arguments: str) -> list[str]:
        """Return a command line; WORK stands for the scratch folder."""
        program = (
            [f"tools/{command}.py"] if command in TOOLS else ["-m", f"bladerunner_ae.{command}"]
        )
        return [sys.executable, *program,
                *(word.replace("WORK", str(self.work)) for word in arguments)]  # fmt: skip

    def run(self, section: str, name: str, command: str, *arguments: str) -> str:
        """Run a command to its end, record its exit code and words, and return its stdout."""
        result = subprocess.run(self.arguments(command, *arguments), cwd=ROOT, env=ENVIRONMENT,
                                capture_output=True, text=True, errors="replace",
                                stdin=subprocess.DEVNULL, timeout=600)  # fmt: skip
        self.section(section)[f"exit code of {name}"] = result.returncode
        self.say(section, f"{name}, stdout", result.stdout)
        self.say(section, f"{name}, stderr", result.stderr)
        return result.stdout

    def together(self, call: Callable[[str], object], names: Iterable[str]) -> None:
        """Call a function for each name, some at a time."""
        with ThreadPoolExecutor(JOBS) as pool:
            list(pool.map(call, names))

    def save(self) -> None:
        """Write the sections that are there so far."""
        for name, parts in self.sections.items():
            text = json.dumps(parts, indent=1, sort_keys=True, ensure_ascii=False, default=str)
            (self.out / f"{name}.json").write_text(text + "\n", "utf-8")


def make_films(recorder: Recorder) -> None:
    """Make small films of ffmpeg's own pictures; all else is comparable only if they are equal."""
    import imageio_ffmpeg

    work = recorder.work

    def ffmpeg(name: str, *arguments: str) -> None:
        start = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-threads", "1"]
        subprocess.run([*start, *arguments, "-threads", "1", "-fflags", "+bitexact", name],
                       cwd=work, check=True, stdin=subprocess.DEVNULL)  # fmt: skip

    def source(graph: str) -> tuple[str, ...]:
        return ("-f", "lavfi", "-i", graph)

    x264 = ("-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-pix_fmt", "yuv420p")
    sine = source("sine=440:r=44100:d=6")
    shots = (*source("testsrc2=s=96x64:r=12:d=2"), *source("mandelbrot=s=96x64:r=12,trim=end=2"),
             *source("smptehdbars=s=96x64:r=12:d=2"))  # fmt: skip
    graph = (
        "".join(f"[{i}]format=yuv420p,setsar=1[v{i}];" for i in range(3)) + "[v0][v1][v2]concat=n=3"
    )
    ffmpeg("plain.mp4", *shots, *sine, "-filter_complex", graph, *x264, "-c:a", "aac")
    ffmpeg("interlaced.mp4", *source("testsrc2=s=96x64:r=50:d=2"), "-vf",
           "tinterlace=interleave_top,setfield=tff", *x264, "-flags", "+ildct+ilme")  # fmt: skip
    ffmpeg("rotated.mp4", "-display_rotation", "90", "-i", "plain.mp4", "-c", "copy")
    pq = ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")
    ffmpeg("hdr.mp4", *source("testsrc2=s=96x64:r=24:d=2"), *x264[:-1], "yuv420p10le", *pq)
    ffmpeg("vfr.mp4", "-i", "plain.mp4", "-vf", r"select=not(eq(mod(n\,4)\,2))", "-fps_mode",
           "passthrough", *x264, "-c:a", "copy")  # fmt: skip
    ffmpeg("bars.mp4", *source("testsrc2=s=96x48:r=24:d=2"), "-vf", "pad=96:72:0:12", *x264)
    for number, offset in enumerate(("5", "7200")):
        ffmpeg(f"part{number}.ts", "-i", "plain.mp4", "-t", "3", *x264, "-c:a", "mp2",
               "-output_ts_offset", offset)  # fmt: skip
    (work / "jump.ts").write_bytes(b"".join((work / f"part{n}.ts").read_bytes() for n in (0, 1)))
    (work / "images").mkdir()
    ffmpeg("images/frame_%04d.png", *source("testsrc2=s=64x48:r=25:d=1.6"))
    ffmpeg("sound.m4a", "-i", "plain.mp4", "-vn", "-c:a", "copy")
    (work / "cut.mp4").write_bytes((work / "plain.mp4").read_bytes()[:20_000])
    for path in work.rglob("*.*"):
        os.utime(path, (FILM_SECONDS, FILM_SECONDS))
        recorder.section("films")[str(path.relative_to(work))] = digest(path.read_bytes())


def record_records(recorder: Recorder) -> None:
    """Record what conversions write, also one that is killed and started again."""
    section, work = recorder.section("records"), recorder.work

    def facts(folder: Path) -> dict[str, Any]:
        card = recorder.json((folder / "film.json").read_text("utf-8"))
        return {"card": card, "files": file_digests(folder, "*.tfrecord")}

    def convert(name: str, target: str, *flags: str) -> None:
        recorder.run("records", name, "make_tfrecords", f"--output_dir=WORK/{target}", *flags)
        (folder,) = (path for path in (work / target).iterdir() if not path.name.startswith("."))
        section[name] = facts(folder)

    for name, flags in table(CONVERSIONS).items():
        convert(name, f"converted/{name}", *flags)
        (folder,) = (work / "converted" / name).iterdir()
        (work / "data").mkdir(exist_ok=True)
        folder.rename(work / "data" / name)

    convert("unbroken", "unbroken", *SLOW.split())
    command = recorder.arguments("make_tfrecords", "--output_dir=WORK/killed", *SLOW.split())
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL) as process:  # fmt: skip
        # The third shard is begun: two are whole, three are missing.
        while process.poll() is None and not list((work / "killed").rglob("*00002*")):
            time.sleep(0.005)
        process.kill()
    section["killed by signal"] = -process.returncode
    convert("killed and resumed", "killed", *SLOW.split())
    section["resumed equals unbroken"] = section["killed and resumed"] == section["unbroken"]

    from tfrecords.reader import film_frames

    for name in ("plain", "vfr", "images"):
        for number, batch in enumerate(film_frames(str(work / "data" / name), batch_size=32)):
            section[f"reader, {name}, batch {number}"] = {
                key: array_facts(value.numpy()) for key, value in batch.items()
            }


def record_inspection(recorder: Recorder) -> None:
    """Record what is said and drawn of records, whole and damaged."""
    section, work = recorder.section("inspection"), recorder.work
    shutil.copytree(work / "data" / "plain", work / "damaged")
    shard = sorted((work / "damaged").glob("*.tfrecord"))[1]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 0x40
    shard.write_bytes(data)
    sorted((work / "damaged").glob("*.tfrecord"))[3].unlink()
    for name in ("data/plain", "data/bars", "data/jump", "damaged"):
        recorder.run("inspection", name, "inspect_records", f"WORK/{name}", "--verify")
        found = recorder.run("inspection", f"{name} as JSON", "inspect_records", f"WORK/{name}",
                             "--verify", "--json")  # fmt: skip
        # Only the words of the damage may change.
        section[name] = without(recorder.json(found), BLANKED | {"message", "damage", "problems"})
    recorder.run("inspection", "pictures", "inspect_records", "WORK/data/plain",
                 "--contact_sheet=WORK/seen/sheet.png", "--barcode=WORK/seen/barcode.png",
                 "--export_frames=WORK/seen/frames", "--frames=10:14")  # fmt: skip
    section["pictures"] = file_digests(work / "seen", "**/*.*")


def record_training(recorder: Recorder) -> None:
    """Record runs of four steps, two of them broken off after two and gone on with."""
    runs = table(RUNS)

    def train(name: str, flags: Iterable[str]) -> None:
        recorder.run("training", name, "train", f"--model_dir=WORK/runs/{name}", *flags)
        run_facts(recorder, name)

    def resume(name: str) -> None:
        old, new = recorder.work / "runs" / name, recorder.work / "runs" / f"{name}_resumed"
        shutil.copytree(old, new, ignore=shutil.ignore_patterns("export", "tensorboard"))
        for path in (new / "checkpoints").glob("step-4.*"):
            path.unlink()
        train(new.name, runs[name])

    recorder.together(lambda name: train(name, runs[name]), runs)
    jobs: dict[str, Callable[[], None]] = {
        "fine_tuned": lambda: train("fine_tuned", FINE_TUNED.split()),
        **{name: lambda name=name: resume(name) for name in RESUMED},  # type: ignore[misc]
    }
    recorder.together(lambda name: jobs[name](), jobs)
    section = recorder.section("training")
    for name in RESUMED:
        last = "checkpoint step-4"
        section[f"{name} resumed equals unbroken"] = (
            section[name][last] == section[f"{name}_resumed"][last]
        )


def run_facts(recorder: Recorder, name: str) -> None:
    """Record what a run folder holds but for its exports."""
    import tensorflow as tf

    run = recorder.work / "runs" / name
    facts: dict[str, Any] = {
        "files": sorted(re.sub(r"tfevents.*", "tfevents", str(path.relative_to(run)))
                        for path in run.rglob("*") if path.is_file()),
        "config": recorder.json((run / "config.json").read_text("utf-8")),
        "flags": recorder.clean((run / "flags.txt").read_text("utf-8")).splitlines(),
        "metrics": [
            {key: value for key, value in json.loads(line).items() if not key.startswith("speed/")}
            for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()
        ],
        "pictures": file_digests(run, "**/*.png"),
        "projector": file_digests(run, "tensorboard/*.*t*s*v"),
    }  # fmt: skip
    for index in sorted((run / "checkpoints").glob("*.index")):
        reader = tf.train.load_checkpoint(str(index.with_suffix("")))
        # Left out: names in the object graph, such as "adam_3", count what else was built before,
        # and a run that was gone on with has counted its checkpoints anew.
        keys = [k for k in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in k]
        facts[f"checkpoint {index.stem}"] = {
            key: array_facts(reader.get_tensor(key))
            for key in sorted(keys)
            if not key.startswith("save_counter")
        }
    events: dict[str, Any] = facts.setdefault("events", {})
    for path in sorted((run / "tensorboard").glob("*tfevents*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                key = f"{value.tag} at {event.step}"
                if value.metadata.plugin_data.plugin_name == "text":
                    recorder.say("training", f"{name}, {key}", str(tf.make_ndarray(value.tensor)))
                # Sessions of hparams say when they began and ended.
                elif not value.tag.startswith(("speed/", "_hparams_/session")):
                    events[key] = digest(value.SerializeToString(deterministic=True))
    recorder.section("training")[name] = facts
    recorder.say("training", f"{name}, log", (run / "log.txt").read_text("utf-8"))


def record_exports(recorder: Recorder) -> None:
    """Record the SavedModels of all runs, and what some of them answer."""
    import numpy as np
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    recorder.run("exports", "second export", "export", "--model_dir=WORK/runs/preview",
                 "--data=WORK/data/plain")  # fmt: skip
    section = recorder.section("exports")
    answers: dict[str, Any] = {}
    for path in sorted((recorder.work / "runs").glob("*/export/*/*/saved_model.pb")):
        name = str(path.parent.relative_to(recorder.work / "runs"))
        graph = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs[0]
        extra = path.parent / "assets.extra"
        section[name] = {
            "signatures": {
                key: {
                    "method": entry.method_name,
                    **{f"{kind} {k}": [v.name, v.dtype,
                                       tf.TensorShape(v.tensor_shape).as_list()
                                       if not v.tensor_shape.unknown_rank else None]
                       for kind, tensors in (("in", entry.inputs), ("out", entry.outputs))
                       for k, v in tensors.items()},
                }
                for key, entry in graph.signature_def.items()
            },
            "card": recorder.json((extra / "model_card.json").read_text("utf-8")),
            "warm-up": file_digests(extra, "tf_serving*"),
            "files": sorted(str(p.relative_to(path.parent)) for p in path.parent.rglob("*.*")),
        }  # fmt: skip
        recorder.say("exports", f"{name}, README", (extra / "README.md").read_text("utf-8"))
        if (extra / "film_latents.npz").exists():
            with np.load(extra / "film_latents.npz") as arrays:
                section[name]["latents"] = {key: array_facts(arrays[key]) for key in arrays}
                answers |= {f"{name} {key}": arrays[key] for key in arrays}
        if name.partition("/")[0] in ANSWERING:
            model = tf.saved_model.load(str(path.parent))
            for key, call in sorted(model.signatures.items()):
                for rows in (1, 3):
                    inputs = {entry.name.partition(":")[0]: tf.constant(fixed_input(entry, rows))
                              for entry in call.structured_input_signature[1].values()}  # fmt: skip
                    for output, value in call(**inputs).items():
                        answers[f"{name} {key} {output} {rows}"] = value.numpy()
    section["answers"] = {key: array_facts(value) for key, value in answers.items()}
    np.savez_compressed(recorder.out / "answers.npz", **{
        key.replace("/", "|"): value for key, value in answers.items() if value.dtype != object
    })  # fmt: skip


def fixed_input(spec: Any, rows: int) -> Any:
    """Return an input of a signature, the same every time: pictures are smooth, files JPEG."""
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(7)
    if spec.dtype == tf.int64:
        return np.arange(1, rows + 1) * 1_000_003
    if spec.dtype == tf.string:
        files = [tf.io.encode_jpeg(image).numpy() for image in pictures(rows, 30, 44)]
        return np.array(files, object)
    if spec.dtype == tf.uint8:
        return pictures(rows, *spec.shape[1:3])
    return random.normal(size=(rows, *spec.shape[1:])).astype(np.float32)


def pictures(rows: int, height: int, width: int) -> Any:
    """Return smooth coloured pictures, uint8 [rows, height, width, 3]."""
    import numpy as np

    row, y, x, c = np.ogrid[1 : rows + 1, :height, :width, :3]
    return ((7 * row * y + 5 * x + 60 * c * row) % 256).astype(np.uint8)


def record_dreams(recorder: Recorder) -> None:
    """Record the films that a network dreams, packet by packet, its evaluation and its report."""
    import av

    section, work = recorder.section("dreams"), recorder.work
    model, dreams = "--model=WORK/runs/preview", table(DREAMS)

    def dream(name: str) -> None:
        recorder.run("dreams", name, "reassemble_film", f"--output=WORK/dreams/{name}", model,
                     *dreams[name])  # fmt: skip

    (work / "dreams").mkdir()
    recorder.together(dream, dreams)
    for path in sorted((work / "dreams").iterdir()):
        with av.open(str(path)) as film:
            recorder.say("dreams", f"metadata of {path.name}", str(film.metadata))
            streams = {
                stream.index: [stream.type, stream.codec_context.name, str(stream.time_base)]
                for stream in film.streams
            }
            packets = [
                f"{p.stream.index} {p.pts} {p.dts} {p.duration} {p.is_keyframe} {digest(bytes(p))}"
                for p in film.demux()
            ]
        section[path.name] = {"streams": streams, "packets": packets}

    recorder.run("dreams", "evaluation", "evaluate", model, "--data=WORK/data/plain",
                 "--output=WORK/figures.json", "--pictures=WORK/samples",
                 "--contact_sheet=WORK/samples/sheet.png")  # fmt: skip
    section["evaluation"] = recorder.json((work / "figures.json").read_text("utf-8"))
    section["pictures"] = file_digests(work / "samples", "*.png")
    recorder.run("dreams", "report", "report", model, "--data=WORK/data/plain",
                 "--data=WORK/data/vfr", "--output=WORK/two.html")  # fmt: skip
    for name, page in (("of two films", work / "two.html"),
                       ("of training", work / "runs/preview/report.html")):  # fmt: skip
        html = recorder.clean(page.read_text("utf-8"))
        images = re.compile(r"data:image/[^\"') ]+")
        section[f"images of the report {name}"] = [digest(i.encode()) for i in images.findall(html)]
        text = images.sub("IMAGE", html)
        body = re.sub(r"(?s)<(style|script)\b[^>]*>.*?</\1>", "", text.partition("<body")[2])
        section[f"numbers of the report {name}"] = re.findall(r"-?\d+(?:\.\d+)?", body)
        scripts = re.findall(r"(?s)<script\b[^>]*json[^>]*>(.*?)</script>", html)
        section[f"data of the report {name}"] = [json.loads(script) for script in scripts]
        recorder.say("dreams", f"report {name}", text)


def field(number: int, value: bytes | str | int) -> bytes:
    """Return a field of a protobuf message, bytes or a number."""

    def varint(rest: int) -> bytes:
        return bytes([rest]) if rest < 128 else bytes([rest & 127 | 128]) + varint(rest >> 7)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def request(
    model: str,
    inputs: Mapping[str, Any] | None = None,
    signature: str = "",
    version: int = 0,
    label: str = "",
    wanted: str = "",
) -> bytes:
    """Return a PredictRequest of TensorFlow Serving; without inputs also the head of any other."""
    import tensorflow as tf

    spec = field(1, model)
    spec += field(2, field(1, version)) if version else b""
    spec += field(3, signature) if signature else b""
    spec += field(4, label) if label else b""
    message = field(1, spec)
    for name, value in (inputs or {}).items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        message += field(2, field(1, name) + field(2, tensor))
    return message + (field(3, wanted) if wanted else b"")


def save_small_model(folder: Path) -> None:
    """Save a model whose signatures have kinds of inputs that ours do not have."""
    import tensorflow as tf

    spec = tf.TensorSpec

    @tf.function(input_signature=[spec([None], tf.int32, "a"), spec([None, 2], tf.float32, "b")])
    def mix(a: Any, b: Any) -> dict[str, Any]:
        return {"sum": tf.cast(a, tf.float32) + b[:, 0], "b": b}

    @tf.function(input_signature=[spec([None], tf.string, "text"), spec([None], tf.bool, "flag")])
    def words(text: Any, flag: Any) -> dict[str, Any]:
        return {"back_bytes": text, "shout": text + b"!", "flag": flag}

    @tf.function(input_signature=[spec([], tf.float32, "x")])
    def scalar(x: Any) -> dict[str, Any]:
        return {"y": 2.0 * x}

    signatures = {"serving_default": mix, "words": words, "scalar": scalar}
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)


@contextlib.contextmanager
def serving(recorder: Recorder) -> Iterator[tuple[str, str]]:
    """Run the server on free ports; yield the addresses of REST and gRPC."""
    log = recorder.work / "server.log"
    command = recorder.arguments(
        "serve", "--model=WORK/models", "--port=0", "--grpc_port=0", "--versions=all",
        "--version_labels=stable:1", "--max_body_mb=1", "--max_batch_size=40", "--threads=1",
        "--poll_seconds=0",
    )  # fmt: skip
    lines: list[str] = []
    with log.open("w") as errors, subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=errors, text=True
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if "explorer" in line:
                    break
            found = dict(re.findall(r"(http|grpc)://([\w.]+:\d+)", "".join(lines)))
            yield found["http"], found["grpc"]
        finally:
            process.send_signal(signal.SIGTERM)
            recorder.section("server")["exit code of serve"] = process.wait(60)
            recorder.say("server", "serve, stdout", "".join(lines))
            recorder.say(
                "server", "serve, stderr", "\n".join(sorted(log.read_text("utf-8").split("\n")))
            )


def rest_exchanges() -> list[tuple[str, str, str]]:
    """Return the requests of `REST` as method, path and body."""
    import tensorflow as tf

    images = pictures(2, 24, 32)
    latent = str([round(0.01 * number - 1, 2) for number in range(200)])
    values = {
        "MANY_LATENTS": ", ".join([latent] * 41),
        "LATENT": latent,
        "IMAGES": str(images.tolist()),
        "PNG": json.dumps({"b64": base64.b64encode(tf.io.encode_png(images[0]).numpy()).decode()}),
        "TOO_LARGE": " " * 1_100_000,
    }
    exchanges = []
    for line in REST.strip().splitlines():
        method, path, *rest = line.split(" ", 2)
        body = "".join(rest)
        for name, value in values.items():
            body = body.replace(name, value)
        exchanges.append((method, path if path[0] == "/" else f"/v1/models/{path}", body))
    return exchanges


def record_rest(recorder: Recorder, address: str) -> None:
    """Record answers over REST; of errors the status is strict, of pages too."""
    for number, (method, url, body) in enumerate(rest_exchanges()):
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.request(method, url, body.encode(), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data, kind = answer.read(), answer.getheader("Content-Type")
        connection.close()
        name = f"REST {number:02} {method} {url} {body[:50].strip()}"
        facts = recorder.section("server")[name] = {"status": answer.status, "type": kind}
        text = data.decode(errors="replace")
        if url.endswith("/metrics"):  # all but the names counts times
            facts["names"] = re.findall(r"(?m)^# TYPE (.*)$", text)
        elif answer.status >= 400 or "json" not in str(kind):
            recorder.say("server", name, digest(data) if "<html" in text else text[:2000])
        elif data:
            body = json.dumps(json.loads(data), sort_keys=True)
            facts["body"] = body if len(body) < 2000 else digest(body.encode())


def record_grpc(recorder: Recorder, address: str) -> None:
    """Record answers over gRPC and to the project's own client."""
    import grpc
    import numpy as np
    import tensorflow as tf

    from bladerunner_ae.client import RequestError, connect

    latent = np.linspace(-1, 1, 400, dtype=np.float32).reshape(2, 200)
    seeds, image = {"seed": np.array([1, 2])}, {"image": pictures(2, 24, 32)}
    files = {"image_bytes": [tf.io.encode_png(image["image"][0]).numpy()]}
    small = {"a": np.array([1], np.int32), "b": np.ones((1, 2), np.float32)}
    predict = {
        "default": request("decoder", {"latent": latent}),
        **{name: request("decoder", {"latent": latent}, name)
           for name in ("decode", "decode_float", "decode_png_bytes")},
        "sample": request("decoder", seeds, "sample"),
        "version": request("decoder", seeds, "sample", version=1),
        "label": request("decoder", seeds, "sample", label="stable"),
        "encoder": request("encoder", image), "files": request("encoder", files, "encode_bytes"),
        "wanted": request("encoder", image, wanted="latent"),
        "autoencoder": request("autoencoder", image), "two inputs": request("small", small),
        "no rows": request("decoder", {"latent": latent[:0]}),
        "not wanted": request("encoder", image, wanted="none"),
        "unknown model": request("none", seeds), "unknown version": request("decoder", version=9),
        "unknown label": request("decoder", label="none"), "empty": b"", "garbage": b"\xff\xff x",
        "unknown signature": request("decoder", seeds, "none"),
        "wrong dtype": request("decoder", {"latent": latent.astype(np.int32)}),
        "wrong shape": request("decoder", {"latent": latent[:, :3]}),
        "wrong name": request("decoder", {"seed": latent}),
        "missing input": request("small", {"a": small["a"]}),
        "too many rows": request("decoder", {"latent": latent.repeat(25, 0)}),
        "too large": request("decoder", {"latent": latent.repeat(1000, 0)}),
        "no picture": request("encoder", {"image_bytes": [b"none"]}, "encode_bytes"),
    }  # fmt: skip
    head = request("decoder")
    calls = {f"Predict {name}": ("PredictionService/Predict", m) for name, m in predict.items()} | {
        "metadata": ("PredictionService/GetModelMetadata", head + field(2, "signature_def")),
        "other metadata": ("PredictionService/GetModelMetadata", head + field(2, "none")),
        "no metadata": ("PredictionService/GetModelMetadata", head),
        "classify": ("PredictionService/Classify", head),
        "regress": ("PredictionService/Regress", head),
        "status": ("ModelService/GetModelStatus", head),
        "status of none": ("ModelService/GetModelStatus", request("none")),
        "no such method": ("PredictionService/Nothing", head),
    }  # fmt: skip
    section = recorder.section("server")
    with grpc.insecure_channel(address) as channel:
        for name, (method, message) in calls.items():
            try:
                answer = channel.unary_unary(f"/tensorflow.serving.{method}")(message, timeout=60)
                # Maps come in any order, so equal answers have equal bytes in another order.
                section[f"gRPC {name}"] = ["OK", len(answer), digest(bytes(sorted(answer)))]
            except grpc.RpcError as error:
                section[f"gRPC {name}"] = [error.code().name]
                recorder.say("server", f"gRPC {name}", str(error.details()))

    facts = section["client"] = {}
    with connect(f"grpc://{address}", "decoder") as client:
        facts["states"] = client.states()
        facts["signatures"] = {key: repr(value) for key, value in client.signatures().items()}
        for name, arrays in (("sample", seeds), ("decode", {"latent": latent})):
            facts[name] = {k: array_facts(v) for k, v in client.predict(arrays, name).items()}
        try:
            client.predict({"latent": latent[:, :3]})
        except RequestError as error:
            facts["refusal"] = error.status


def record_server(recorder: Recorder) -> None:
    """Record exchanges with a server of all models of a run and of a small one."""
    models = recorder.work / "models"
    shutil.copytree(recorder.work / "runs/preview/export", models)
    for version in ("1", "2"):
        save_small_model(models / "small" / version)
        for name in ("encoder", "autoencoder", "decoder"):
            assert (models / name / version).exists()
    with serving(recorder) as (rest, rpc):
        record_rest(recorder, rest)
        record_grpc(recorder, rpc)


def record_words(recorder: Recorder) -> None:
    """Record flags and help of all commands, exit codes of wrong calls, and the tests' number."""

    def helps(command: str) -> None:
        text = recorder.run("help", command, command, "--help")
        recorder.section("help")[f"flags of {command}"] = re.findall(r"(?m)^  (--\w+)$", text)

    recorder.together(helps, (*TOOLS, *MODULES))
    wrong = table(WRONG)
    recorder.together(lambda name: recorder.run("exit codes", name, *wrong[name]), wrong)
    config = ConfigParser()
    config.read("setup.cfg")
    scripts = config["options.entry_points"]["console_scripts"]
    recorder.say("help", "console_scripts", scripts)
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=", "-p",
         "no:cacheprovider"],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    ).stdout.splitlines()  # fmt: skip
    cases = [line for line in found if "::" in line]
    functions = {line.partition("[")[0] for line in cases}
    recorder.say("tests", "number", f"{len(functions)} functions, {len(cases)} cases")


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every plain value of JSON with the way to it."""
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in pairs:
            yield from flatten(entry, f"{path} > {key}" if path else str(key))
    else:
        yield path, value


def compare(one: Path, other: Path) -> int:
    """Print what differs between two recordings; return 1 if a strict part does, else 0."""
    differ = False
    names = sorted({path.name for folder in (one, other) for path in folder.glob("*.json")})
    for name in names:
        if not all((folder / name).exists() for folder in (one, other)):
            print(f"{name}: only in one recording")
            differ = True
            continue
        a, b = (json.loads((folder / name).read_text("utf-8")) for folder in (one, other))
        before, after = dict(flatten(a["strict"])), dict(flatten(b["strict"]))
        keys = [key for key in {**before, **after} if before.get(key, ...) != after.get(key, ...)]
        differ = differ or bool(keys)
        label = name.removesuffix(".json")
        print(f"{label}: {f'{len(keys)} of {len(before)} values differ' if keys else 'equal'}")
        for key in keys[:SHOWN]:
            print(f"  {key}: {before.get(key, 'none')!s:.100} -> {after.get(key, 'none')!s:.100}")
        if label == "exports" and keys:
            compare_answers(one / "answers.npz", other / "answers.npz")
        texts = {**a["wording"], **b["wording"]}
        changed = [t for t in texts if a["wording"].get(t) != b["wording"].get(t)]
        for text in changed[:SHOWN]:
            old, new = ((part["wording"].get(text) or "").splitlines() for part in (a, b))
            delta = list(difflib.unified_diff(old, new, n=0, lineterm=""))
            delta = [line for line in delta if not line.startswith(("@@", "---", "+++"))]
            print(f"  wording of {text}:", *(f"    {line[:150]}" for line in delta[:6]), sep="\n")
        if len(changed) > SHOWN:
            print(f"  wording of {len(changed) - SHOWN} more: {', '.join(changed[SHOWN:])[:500]}")
    return int(differ)


def compare_answers(one: Path, other: Path) -> None:
    """Print how far the numbers that exported models answer lie apart."""
    import numpy as np

    with np.load(one) as a, np.load(other) as b:
        for key in sorted(set(a) & set(b)):
            if a[key].shape != b[key].shape:
                print(f"  {key}: {a[key].shape} -> {b[key].shape}")
            elif not np.array_equal(a[key], b[key], equal_nan=a[key].dtype.kind == "f"):
                far = np.abs(a[key].astype(np.float64) - b[key]).max()
                print(f"  {key}: up to {far:.3g} apart")


def record(out: Path) -> int:
    """Record everything into a folder, which is replaced; return 1 if a step failed, else 0."""
    os.environ.update(ENVIRONMENT | QUIET)
    sys.path.insert(0, str(ROOT))
    import bladerunner_ae

    assert Path(bladerunner_ae.__file__).is_relative_to(ROOT), bladerunner_ae.__file__
    recorder, failed = Recorder(out), 0
    for step in (make_films, record_records, record_inspection, record_training, record_exports,
                 record_dreams, record_server, record_words):  # fmt: skip
        start = time.monotonic()
        try:
            step(recorder)
        except Exception as error:  # the other steps may still tell something
            traceback.print_exc()
            recorder.section("failed steps")[step.__name__] = repr(error)
            failed = 1
        print(f"{step.__name__}: {time.monotonic() - start:.1f} s", flush=True)
        recorder.save()
    shutil.rmtree(recorder.work)
    return failed


def main() -> int:
    """Record or compare, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, help="folder for a recording")
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("A", "B"))
    arguments = parser.parse_args()
    if arguments.compare:
        return compare(*arguments.compare)
    if arguments.out is None:
        parser.error("give a folder to record into, or --compare A B")
    return record(arguments.out.resolve())


if __name__ == "__main__":
    sys.exit(main())
