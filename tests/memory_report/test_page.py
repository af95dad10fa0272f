"""The page: its figures are those of `metrics`, it holds all it needs, and it takes any film."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from bladerunner_ae.errors import InputError
from bladerunner_ae.evaluation import choice, image_quality
from bladerunner_ae.evaluation.perceptual import available, perceptual_distances
from bladerunner_ae.exports.loading import load_autoencoder
from bladerunner_ae.memory_report.gather import Memory, gather
from bladerunner_ae.memory_report.page import make_page
from bladerunner_ae.memory_report.shot_memory import group_means
from bladerunner_ae.memory_report.write import FILE_NAME, is_reported, report_training
from bladerunner_ae.model.autoencoder import Autoencoder, Halves
from tests.helpers.commands import Commands, Result
from tests.helpers.small_records import write_numbered_film, write_pictures
from tests.helpers.synthetic_film import film_pictures
from tfrecords.card import load_card
from tfrecords.frames import read_images
from tfrecords.storage import location

_VOID = {"meta", "img", "br", "input", "link", "hr"}
_SHAPES = {"path", "rect"}


class _Page(HTMLParser):
    """Asserts that elements nest, and keeps what tests need."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _SHAPES
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _still(images: np.ndarray) -> np.ndarray:
    """A dream that is a little darker than the film."""
    return (images * 0.9).astype(np.uint8)


def _darker(encoder: bool = True) -> Autoencoder:
    """A model whose dreams are a little darker than the film."""

    def encode(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        small = images[:, ::8, ::8].reshape(len(images), -1).astype(np.float32)
        return small, small

    def halves() -> Halves:
        if not encoder:
            raise InputError("encoder: is missing")
        return Halves((36,), encode, lambda latents: latents)

    return Autoencoder((24, 32), halves, _still)


def _page(memory: Memory) -> _Page:
    return _Page(make_page(memory))


@pytest.fixture(scope="module")
def measured(trained_run: tuple[Path, Result], small_records: Path) -> tuple[Memory, _Page]:
    """The measured memory of a tiny trained run, and the page."""
    memory = gather(load_autoencoder(trained_run[0]), [location(small_records)], 0)
    return memory, _page(memory)


def test_figures_are_those_of_the_metrics(
    measured: tuple[Memory, _Page], trained_run: tuple[Path, Result], small_records: Path
) -> None:
    card = load_card(small_records)
    images = read_images(small_records, card, range(48))
    dreams = load_autoencoder(trained_run[0]).reconstruct(images)
    psnr, ssim = (m(images, dreams).numpy() for m in (image_quality.psnr, image_quality.ssim))
    change = image_quality.change(images[:-1], images[1:]).numpy()
    memory, page = measured
    rows = page.rows[1:]
    assert len(rows) == len(memory.shots)
    for row, shot in zip(rows, memory.shots, strict=True):
        start, end = shot.part.start, shot.part.end
        _, first, _, frames, db, similarity, motion, label = row
        assert (int(first), int(frames), label) == (start, end - start, shot.part.label)
        assert float(db) == pytest.approx(psnr[start:end].mean(), abs=0.006)
        assert float(similarity) == pytest.approx(ssim[start:end].mean(), abs=0.0006)
        assert float(motion) == pytest.approx(change[start : end - 1].mean(), abs=0.006)
    seen = psnr[:40].mean()
    assert f"{seen:.2f} dB" in page.text and f"{psnr[40:].mean():.2f} dB" in page.text
    assert rows[-1][-1] == "held out" and "all 48 frames were measured" in page.text
    if available():
        distances = perceptual_distances(images, dreams)
        means = group_means(memory.shots)
        for label, own in (("seen", distances[:40]), ("held out", distances[40:])):
            assert means[label][2] == pytest.approx(own.mean(), abs=2e-4)
            assert f"{means[label][2]:.3f}" in page.text
        assert "perceptual distance of what was held out" in page.text
        assert "of 48 frames, by features of EfficientNet-Lite0" in page.text


@pytest.mark.skipif(not available(), reason="the extra [perceptual] is not installed")
def test_the_perceptual_distance_is_of_a_few_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "choose_all", partial(choice.choose_all, few=4))
    pictures = np.stack(list(film_pictures(24, 24, 32)))
    write_pictures(tmp_path / "film", pictures)
    memory = gather(_darker(), [location(tmp_path / "film")], 0)
    few = pictures[[3, 9, 15, 21]]
    (means,) = group_means(memory.shots).values()
    expected = perceptual_distances(few, _still(few)).mean()
    assert means[2] == pytest.approx(expected, abs=1e-3)
    assert "of 4 frames, by features of" in _page(memory).text


def test_without_the_extra_the_page_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = 'no perceptual figures: it is not installed: pip install "bladerunner_ae[perceptual]"'
    monkeypatch.setattr("bladerunner_ae.memory_report.gather.missing_perceptual", lambda: reason)
    write_numbered_film(tmp_path / "film", 12, 24, 32)
    memory = gather(_darker(), [location(tmp_path / "film")], 0)
    assert {found[2] for found in group_means(memory.shots).values()} == {None}
    text = _page(memory).text
    assert reason in text and "perceptual distance of" not in text


def test_the_page_refers_to_no_other_file(measured: tuple[Memory, _Page]) -> None:
    _, page = measured
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "data"):
            assert (attributes.get(name) or "data:").startswith("data:")
    html = make_page(measured[0])
    assert not re.search(r"https?://|url\(|@import", html)
    assert len(html) < 8_000_000 and "/tmp" not in html and str(Path.home()) + "/" not in html


def test_the_page_is_accessible(measured: tuple[Memory, _Page]) -> None:
    _, page = measured
    assert all(attributes.get("alt") for attributes in page.all("img"))
    assert all(attributes.get("aria-label") for attributes in page.all("svg"))
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))
    assert len(page.all("h1")) == 1 and page.all("html")[0]["lang"] == "en"
    assert all(attributes.get("aria-label") for attributes in page.all("input")
               if attributes["type"] == "range")  # fmt: skip


def test_curves_and_provenance_of_the_run(
    measured: tuple[Memory, _Page], trained_run: tuple[Path, Result]
) -> None:
    memory, page = measured
    written = _Page((trained_run[0] / FILE_NAME).read_text("utf-8"))  # at the end of training
    for text in (page.text, written.text):
        assert memory.films[0].card.source["sha256"] in text and "4 steps of 8 frames" in text
        assert "PSNR of the probe frames" in text or "Loss of the encoder" in text
        assert "8 frames held out" in text
    assert len(written.rows) == len(page.rows) > 2


def test_names_of_films_are_escaped(tmp_path: Path) -> None:
    write_numbered_film(tmp_path / "film", 12, 24, 32)
    name = "<b>&\"x'</script><script>alert(1)</script>.mp4"
    path = tmp_path / "film" / "film.json"
    card = json.loads(path.read_text())
    card["source"]["name"] = name
    path.write_text(json.dumps(card))
    html = make_page(gather(_darker(), [location(tmp_path / "film")], 0))
    page = _Page(html)
    assert name in page.text and "<script>alert" not in html and "<b>&" not in html
    assert len(page.all("script")) == 2


def test_pages_of_one_frame_and_of_two_films(tmp_path: Path) -> None:
    grey = np.full((24, 32, 3), 90, np.uint8)
    write_pictures(tmp_path / "one", [grey])
    write_pictures(tmp_path / "still", [grey] * 30, film_id="f" * 16)
    alone = _page(gather(_darker(), [location(tmp_path / "one")], 0))
    expected = float(image_quality.psnr(grey[None], _still(grey[None]))[0])
    assert alone.rows[1][4] == f"{expected:.2f}" and alone.rows[1][6] == "none"
    assert "too few frames differ" in alone.text and "Too few shots" in alone.text
    assert "Of this film all" in alone.text
    both = gather(_darker(), [location(tmp_path / "one"), location(tmp_path / "still")], 0)
    page = _page(both)
    assert len(page.all("section")) >= 6 and page.rows[0][0] == "film"
    assert "Of these films all 31 frames were measured" in page.text
    assert {row[-1] for row in page.rows[1:]} == {"unseen film"}
    assert [shot.motion for shot in both.shots if shot.part.film == 1] == [0.0] * (
        len(both.shots) - 1
    )


def test_a_model_without_encoder_or_card_has_no_map(small_records: Path) -> None:
    page = _page(gather(_darker(encoder=False), [location(small_records)], 0))
    assert "the model was exported without an encoder" in page.text
    assert "an exported autoencoder without a model card" in page.text


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the perceptual distance out."""
    monkeypatch.setattr(
        "bladerunner_ae.memory_report.gather.missing_perceptual", lambda: "left out"
    )


def test_a_sample_estimates_the_whole_film(tmp_path: Path, quick: None) -> None:
    write_numbered_film(tmp_path / "film", 200, 24, 32)
    whole, some = (gather(_darker(), [location(tmp_path / "film")], n) for n in (0, 60))
    measured = len(some.films[0].frames)
    assert 40 <= measured <= 60
    assert f"{measured} of 200 frames were measured" in _page(some).text
    assert len(some.shots) == len(whole.shots)
    for one, other in zip(some.shots, whole.shots, strict=True):
        assert one.psnr == pytest.approx(other.psnr, abs=0.5)
        assert one.motion is not None and other.motion is not None
    assert np.isfinite(some.films[0].original).all()


def test_pictures_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    write_numbered_film(tmp_path / "film", 120, 24, 32)
    monkeypatch.setattr("bladerunner_ae.memory_report.gather.STRIP_CHARACTERS", 60_000)
    found = gather(_darker(), [location(tmp_path / "film")], 0)
    (strip,) = found.strips
    assert 5 < len(strip.pairs) < 100 and strip.pairs.keys() == strip.latents.keys()
    assert sum(pair.size for pair in strip.pairs.values()) < 90_000
    _page(found)


def test_bad_input_is_one_line(
    tmp_path: Path, commands: Commands, trained_run: tuple[Path, Result], small_records: Path
) -> None:
    run, output = trained_run[0], tmp_path / "report.html"
    write_numbered_film(tmp_path / "large", 3, 32, 48)

    def asked(**changes: object) -> Result:
        values = {"model": run, "data": small_records, "output": output, **changes}
        return commands.run("report", *(f"--{name}={value}" for name, value in values.items()))

    for changes, words, code in (
        ({"model": tmp_path / "none"}, "no such model folder", 2),
        ({"data": tmp_path / "none"}, "none", 2),
        ({"data": tmp_path / "large"}, "--height=24 --width=32", 2),
        ({"output": tmp_path / "report.png"}, "ends in .html", 1),
        ({"output": tmp_path}, "ends in .html", 1),
    ):
        result = asked(**changes)
        assert result.code == code and words in result.error
    assert not output.exists()
    damaged = tmp_path / "damaged"
    shutil.copytree(small_records, damaged)
    shard = next(damaged.glob("*.tfrecord"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(bytes(content))
    output.write_text("an earlier page")
    assert asked(data=damaged).code == 2
    assert output.read_text() == "an earlier page"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "large", "report.html"]
    good = asked()
    assert good.code == 0 and good.out.strip() == str(output)
    _Page(output.read_text("utf-8"))


def test_a_failure_after_training_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_training(None, {}, 4, [location(tmp_path / "none")], location(tmp_path))
    error = capsys.readouterr().err
    assert error.startswith("no report.html: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_report_of_an_earlier_step_is_replaced(
    trained_run: tuple[Path, Result], small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    """One is left if a resumed run is stopped between its last step and its report."""
    run = Path(shutil.copytree(trained_run[0], tmp_path / "run"))
    page = run / "report.html"
    html = page.read_text("utf-8")
    assert is_reported(run, 4) and not is_reported(run, 2) and not is_reported(tmp_path, 4)
    page.write_text(html.replace('name="step" content="4"', 'name="step" content="2"'))
    assert is_reported(run, 2) and not is_reported(run, 4)
    result = commands.run("train", f"--flagfile={run / 'flags.txt'}", f"--model_dir={run}")
    assert result.code == 0 and "nothing to do" in result.err, result.err
    assert is_reported(run, 4)
