"""Records of the same film that were made otherwise are told apart; where they lie is no matter."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.errors import InputError
from bladerunner_ae.evaluation.evaluate_film import EvaluationOptions, evaluate_film
from bladerunner_ae.evaluation.labels import conversion_note, frame_labels
from bladerunner_ae.exports import from_run
from bladerunner_ae.exports.loading import load_autoencoder
from bladerunner_ae.memory_report.gather import gather
from bladerunner_ae.runs.fields import to_json
from bladerunner_ae.runs.films import (
    Conversion,
    FilmUse,
    conversion_differences,
    division_differences,
    films_of,
    same_moments,
)
from bladerunner_ae.runs.folder import load_config, open_run
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.training import resume
from bladerunner_ae.training.distributed.agreement import difference
from tests.helpers.commands import Commands, Result
from tests.helpers.small_records import write_numbered_film, write_pictures
from tests.helpers.synthetic_film import film_pictures
from tests.helpers.tiny_exports import small_networks, write_export
from tests.helpers.tiny_training import arguments, tiny_flags, tiny_run
from tfrecords.card import FilmCard, load_card

SMALL = ConversionOptions(height=24, width=32, num_shards=4, bars=(0, 0, 0, 0), image_format="png")


@pytest.fixture(scope="module")
def film(film_factory: Callable[..., Path]) -> Path:
    return film_factory(height=96, width=128)


@pytest.fixture(scope="module")
def converted(film: Path, tmp_path_factory: pytest.TempPathFactory) -> FilmCard:
    return convert_film(plan_conversion(film, tmp_path_factory.mktemp("plain"), SMALL))


CONVERSIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"num_shards": 3}, []),
    ({"bars": None}, []),  # none are found
    ({"duration": Fraction(60)}, []),  # it is shorter
    ({"deinterlace": "off"}, []),
    ({"duration": Fraction(1)}, ["--duration: to the end -> 1"]),
    ({"start": Fraction(1, 2), "num_shards": 3}, ["--start: the beginning -> 1/2"]),
    ({"bars": (8, 8, 0, 0)}, ["--crop_bars: none -> 8:8:0:0"]),
    ({"bars": (8, 8, 0, 0), "num_shards": 3}, ["--crop_bars: none -> 8:8:0:0"]),
    ({"image_format": "jpeg"}, ["--format: png -> jpeg"]),
    ({"width": 48, "fit": "cover"}, ["--width: 32 -> 48", "--fit: contain -> cover"]),
]


@pytest.mark.parametrize(("changes", "named"), CONVERSIONS)
def test_conversions_differ_by_their_frames(
    changes: dict[str, Any], named: list[str], film: Path, converted: FilmCard, tmp_path: Path
) -> None:
    options = dataclasses.replace(SMALL, **changes)
    card = convert_film(plan_conversion(film, tmp_path, options))
    assert conversion_differences(FilmUse.of(card), FilmUse.of(converted)) == named


def test_the_quality_of_jpeg_is_told_apart(film: Path, tmp_path: Path) -> None:
    first, second = (
        FilmUse.of(
            convert_film(
                plan_conversion(
                    film,
                    tmp_path / str(quality),
                    dataclasses.replace(SMALL, image_format="jpeg", quality=quality),
                )
            )
        )
        for quality in (95, 80)
    )
    assert conversion_differences(second, first) == ["--quality: 95 -> 80"]


def test_other_frames_from_the_same_options_are_told_apart(tmp_path: Path) -> None:
    """Another version of a decoder may make them; there are as many bytes."""
    pictures = list(film_pictures(12, 24, 32))
    first = FilmUse.of(write_pictures(tmp_path / "a", pictures, 3, "png"))
    second = FilmUse.of(write_pictures(tmp_path / "b", pictures[::-1], 3, "png"))
    assert first.conversion and second.conversion
    assert first.conversion.bytes == second.conversion.bytes
    assert conversion_differences(second, first) == ["checksums of the shards"]


def test_number_of_shards_changes_only_the_order() -> None:
    def identity(shards: int) -> FilmUse:
        conversion = Conversion(shards, "", 1, (0, 1), "1/24", {}, {}, {})
        return FilmUse("a", "", 2, conversion)

    assert division_differences([identity(4)], [identity(3)]) == ["shards of a: 3 -> 4"]
    assert division_differences([identity(4)], [identity(4)]) == []
    assert division_differences([identity(4)], [FilmUse("a", "", 2)]) == []


def other_records(folder: Path) -> Path:
    """Write the film of `small_records` as JPEG, of which the card says nothing."""
    write_numbered_film(folder, 48, 24, 32, image_format="jpeg")
    return folder


def test_other_records_of_the_film_are_refused(
    trained_run: tuple[Path, Result], tmp_path: Path, commands: Commands
) -> None:
    run = Path(shutil.copytree(trained_run[0], tmp_path / "run"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    records = other_records(tmp_path / "jpeg")
    result = commands.run("train", *arguments(tiny_flags(records, run, holdout=0.17, steps=6)))
    assert result.code == 2, result.err
    assert "holds another run (film.mp4 was converted otherwise: bytes: 65512 -> " in result.error
    assert "the same flags and records as before, or --overwrite" in result.error
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("how", ["moved", "other shards"])
def test_same_frames_elsewhere_are_accepted(how: str, small_records: Path, tmp_path: Path) -> None:
    config = tiny_run(tiny_flags(small_records, tmp_path / "run", holdout=0.17))
    open_run(tmp_path / "run", config, overwrite=False)
    records = tmp_path / "film"
    if how == "moved":
        shutil.copytree(small_records, records)
    else:
        write_numbered_film(records, 48, 24, 32, num_shards=7, image_format="png")
    again = tiny_run(tiny_flags(records, tmp_path / "run", holdout=0.17))
    assert open_run(tmp_path / "run", again, overwrite=False) == again


def streamed(records: Path, run: Path) -> RunConfig:
    return tiny_run(tiny_flags(records, run, cache_limit=0))


def test_streamed_frames_of_other_shards_come_in_another_order(
    small_records: Path, tmp_path: Path
) -> None:
    """A resumed run says so, a worker is refused."""
    run = tmp_path / "run"
    write_numbered_film(tmp_path / "film", 48, 24, 32, num_shards=7, image_format="png")
    earlier, config = streamed(small_records, run), streamed(tmp_path / "film", run)
    assert resume.order_change(earlier, config, 3) == (
        "shards of film.mp4: 4 -> 7: streamed frames come in another order from step 3 on, and "
        "weights differ from those of an unbroken run"
    )
    assert resume.order_change(earlier, earlier, 3) == ""
    in_memory = [tiny_run(tiny_flags(r, run)) for r in (small_records, tmp_path / "film")]
    assert resume.order_change(in_memory[0], in_memory[1], 3) == ""
    open_run(run, earlier, overwrite=False)
    assert difference(1, earlier, run) is None
    assert "(shards of film.mp4: 4 -> 7); start all" in str(difference(1, config, run))
    open_run(run, in_memory[0], overwrite=True)
    assert difference(1, in_memory[1], run) is None


def test_run_without_conversion_is_resumed(small_records: Path, tmp_path: Path) -> None:
    run, path = tmp_path / "run", tmp_path / "run" / "config.json"
    config = tiny_run(tiny_flags(small_records, run))
    open_run(run, config, overwrite=False)
    values = json.loads(path.read_text())
    del values["films"][0]["conversion"]
    path.write_text(json.dumps(values))
    open_run(run, config, overwrite=False)
    assert load_config(run) == config, "from now on it is written down"
    values["films"][0]["frames"] = 47
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"film\.mp4 was converted otherwise: frames: 47 -> 48\)"):
        open_run(run, config, overwrite=False)


def model_card(records: Path) -> dict[str, Any]:
    """Return that of a run on records whose frames 40 to 47 were held out."""
    return {"films": [to_json(FilmUse.of(load_card(records), held_out=[(40, 48)]))]}


def test_frames_of_the_same_moments_keep_their_labels(small_records: Path, tmp_path: Path) -> None:
    card, trained_on = load_card(small_records), model_card(small_records)
    assert conversion_note(card, trained_on) == ""
    expected = ["seen"] * 40 + ["held out"] * 8
    assert frame_labels(card, trained_on).tolist() == expected
    other = load_card(other_records(tmp_path / "jpeg"))
    assert frame_labels(other, trained_on).tolist() == expected
    assert conversion_note(other, trained_on).startswith(
        "film.mp4 was converted otherwise than for the training: bytes: 65512 -> "
    )


def test_frames_of_other_moments_have_none(small_records: Path, tmp_path: Path) -> None:
    trained_on, card = model_card(small_records), load_card(small_records)
    later = dataclasses.replace(card, first_pts=card.last_pts + 1, last_pts=2 * card.last_pts)
    assert set(frame_labels(later, trained_on)) == {"unseen film"}
    assert conversion_note(later, trained_on) == ""
    shifted = dataclasses.replace(
        card,
        first_pts=card.first_pts + 1001,
        last_pts=card.last_pts + 1001,
        shards=[dataclasses.replace(shard, sha256="0" * 64) for shard in card.shards],
    )
    assert same_moments(FilmUse.of(shifted), films_of(trained_on)[0]) is None
    said = (
        r"^film\.mp4: was converted otherwise than for the model's training \(pts: .*\), so that "
        r"it is unknown .*; give the records"
    )
    with pytest.raises(InputError, match=said):
        frame_labels(shifted, trained_on)


@pytest.mark.slow
def test_evaluation_and_report_notice_other_pictures(
    small_records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = write_export(tmp_path / "run" / "export", small_records, small_networks())
    for version in export.glob("*/1"):
        path = version / "assets.extra" / "model_card.json"
        values = json.loads(path.read_text())
        path.write_text(json.dumps({**values, **model_card(small_records)}))
    options = EvaluationOptions(vmaf=False, perceptual=False, baselines=False)
    other = other_records(tmp_path / "jpeg")
    said = "film.mp4 was converted otherwise than for the training"
    for records, noticed in ((small_records, False), (other, True)):
        notes = evaluate_film(tmp_path / "run", records, options)["notes"]
        assert any(said in note for note in notes) == noticed
        gather(load_autoencoder(tmp_path / "run"), [records], 8)
        assert (said in capsys.readouterr().err) == noticed


def test_other_records_are_not_exported_with_a_run(small_records: Path, tmp_path: Path) -> None:
    config = tiny_run(tiny_flags(small_records, tmp_path / "run"))
    assert from_run._find_films(config, [small_records])[0] == [0]
    other = other_records(tmp_path / "jpeg")
    said = (
        r"jpeg: film\.mp4 was converted otherwise than for the run \(bytes: .*\); give the records"
    )
    with pytest.raises(InputError, match=said):
        from_run._find_films(config, [other])
