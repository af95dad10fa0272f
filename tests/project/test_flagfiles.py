"""Every flagfile starts the run that its head describes."""

from pathlib import Path

import pytest

from tests.helpers.commands import ROOT, Commands
from tests.helpers.small_records import write_numbered_film

PLANS = {
    "preview": ((72, 128), "preset preview, objective dream, 500 steps of 32 frames"),
    **{
        name: ((72, 128), f"preset preview, objective {name}, 500 steps of 32 frames")
        for name in ("vae", "vae_gan", "patch_gan")
    },
    "blade_runner": ((144, 256), "preset base, objective vae_gan, 84240 steps of 12 frames"),
    "broad2016": ((72, 128), "preset preview, objective broad2016, 10 steps of 12 frames"),
}


@pytest.mark.parametrize("path", sorted((ROOT / "flagfiles").glob("*.flags")), ids=lambda p: p.stem)
def test_a_flagfile_plans_its_run(path: Path, tmp_path: Path, commands: Commands) -> None:
    raster, plan = PLANS[path.stem]
    write_numbered_film(tmp_path / "film", 20, *raster)
    run = tmp_path / "run"
    result = commands.run(
        "train", f"--flagfile={path}", f"--data={tmp_path / 'film'}", f"--model_dir={run}",
        "--dry_run",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert plan in result.err
    assert not run.exists()


@pytest.mark.parametrize("path", sorted((ROOT / "flagfiles").glob("*.flags")), ids=lambda p: p.stem)
def test_a_flagfile_opens_with_its_own_command(path: Path) -> None:
    head = [line for line in path.read_text("utf-8").splitlines() if line.startswith("#")]
    assert any(f"--flagfile=flagfiles/{path.name}" in line for line in head)
