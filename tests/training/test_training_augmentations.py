"""Augmentations: found by themselves, in a fixed order, with the random numbers that they always drew."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fgnet import ModelError
from fgnet.geometry import Triple
from fgnet.training.augmentation import Augmentation, NoSettings, augmentations
from fgnet.training.chance import Chance
from fgnet.training.patch import LabelledVolume, cut
from fgnet.training.sampling import draw
from fgnet.training.settings import AugmentSettings, DefectSettings, IntensitySettings, WarpSettings
from pipeline_tools import CHECKOUT
from tiny_training import coded

GREY = [a for a in augmentations() if a.table is not None and a.name not in ("warp", "misaligned", "padding")]
NEVER = dict.fromkeys((f.name for f in dataclasses.fields(DefectSettings)), 0.0)
ALWAYS = dict.fromkeys(NEVER, 1.0)


def named(name: str) -> Augmentation:
    return next(a for a in augmentations() if a.name == name)


def alone(augmentation: Augmentation, volume: LabelledVolume, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Raw and labels of a whole volume after one augmentation whose settings are its upper limits, or 1 of none."""
    values = {f.name: min(1.0, f.metadata["range"].high) for f in dataclasses.fields(augmentation.settings)}
    patch = cut(volume, tuple(volume.raw.shape), (0, 0, 0))  # type: ignore[arg-type]
    changed = augmentation.apply(patch, Chance(seed), augmentation.settings(**values))
    return changed.raw, changed.labels


class RecordedChance(Chance):
    """Keeps what was drawn, as text."""

    def __init__(self, *key: int) -> None:
        super().__init__(*key)
        self.drawn: list[str] = []

    def uniform(self, low: float, high: float) -> float:
        value = super().uniform(low, high)
        self.drawn.append(f"{value:.9g}")
        return value

    def integer(self, low: int, high: int) -> int:
        value = super().integer(low, high)
        self.drawn.append(f"{value} of {low} to {high}")
        return value

    def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
        self.drawn.append(f"normal {tuple(shape)}")
        return super().normal(shape)

    def permutation(self, count: int) -> list[int]:
        value = super().permutation(count)
        self.drawn.append(str(value))
        return value


def waves(shape: Triple, isotropic: bool) -> LabelledVolume:
    z, y, x = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
    raw = torch.sin(z / 3.0) + torch.cos(y / 5.0) * (x % 16) / 8.0
    return LabelledVolume(raw, coded(shape).labels, 1.0 + isotropic, isotropic)


#: Settings; then what commit 1d736fb gave with them: digest of the numbers drawn, mean and deviation of raw, labels.
STREAMS = {
    "default": (AugmentSettings(), "c415e3357e0a034e", -0.00912, 1.0402, 617672),
    "often": (
        AugmentSettings(
            warp=WarpSettings(probability=1.0),
            intensity=IntensitySettings(contrast=1.0, curve=1.0, field=1.0, noise=1.0, blur=0.5, sharpen=1.0),
            defects=DefectSettings(**{**ALWAYS, "padding": 0.0}),
        ),
        *("89739dd14212ae28", -0.12384, 1.21096, 581395),
    ),
    "seldom": (
        AugmentSettings(
            candidates=1,
            warp=WarpSettings(probability=0.5, elastic=0.0, zoom=1.0, elastic_spacing=8),
            intensity=IntensitySettings(contrast=0.0, curve=0.0, field=0.0, noise=0.0, blur=0.0, sharpen=1.0),
            defects=DefectSettings(**NEVER),
        ),
        *("81103668a18628ae", -0.00011, 1.08912, 632471),
    ),
    "off": (AugmentSettings(enabled=False), "616f1bf61a6b029b", -0.03442, 1.03131, 651264),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_seed_gives_the_patches_that_it_always_gave(name: str) -> None:
    """Numbers are compared exactly, grey values roughly: their last bits depend on the processor."""
    settings, digest, mean, deviation, labelled = STREAMS[name]
    volumes = [waves((44, 48, 52), True), waves((20, 60, 64), False)]
    drawn: list[str] = []
    patches = []
    for i in range(12):
        for shape in ((32, 32, 32), (16, 32, 48)):
            chance = RecordedChance(3, i, 0, 1)
            patches.append(draw(volumes, shape, settings, chance))
            drawn += [*chance.drawn, f"{float(torch.rand((), generator=chance.generator)):.6f}"]
    assert hashlib.sha256("\n".join(drawn).encode()).hexdigest()[:16] == digest
    assert sum(float(p.raw.mean()) for p in patches) / 24 == pytest.approx(mean, abs=1e-3)
    assert sum(float(p.raw.std()) for p in patches) / 24 == pytest.approx(deviation, abs=1e-3)
    assert sum(int((p.labels > 0).sum()) for p in patches) == pytest.approx(labelled, rel=1e-3)


TOY = """
from dataclasses import dataclass
from fgnet.training.augmentation import Augmentation, setting

@dataclass(frozen=True)
class Settings:
    inverted: float = setting(1.0, "probability of a negative")

def inverted(patch, chance, settings):
    return patch.with_raw(-patch.raw) if chance.happens(settings.inverted) else patch

AUGMENTATION = Augmentation("inverted", 1_000_000, inverted, "intensity", Settings)
"""
DRIVE = """
import sys
from fgnet.training import augmentations
augmentations.__path__.append(sys.argv[1])
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.training.config import TrainConfig
config = TrainConfig.load(sys.argv[2], ["optimise.augment.intensity.inverted=0.5"])
assert '"inverted":0.5' in config.model_dump_json()
try:
    TrainConfig.load(sys.argv[2], ["optimise.augment.intensity.inverted=2"])
except InputError as error:
    assert "0 to 1 (probability of a negative)" in str(error), error
else:
    raise AssertionError
assert "torch" not in sys.modules
import torch
from fgnet.training.chance import Chance
from fgnet.training.patch import LabelledVolume
from fgnet.training.sampling import draw
from fgnet.training.settings import AugmentSettings, DefectSettings, IntensitySettings, WarpSettings
volume = LabelledVolume(torch.rand(16, 32, 32) + 1, torch.ones(16, 32, 32, dtype=torch.int32))
never = [dict.fromkeys(cls.__dataclass_fields__, 0.0) for cls in (IntensitySettings, DefectSettings)]
quiet = AugmentSettings(
    warp=WarpSettings(probability=0.0),
    intensity=IntensitySettings(**{**never[0], "inverted": 1.0}),
    defects=DefectSettings(**never[1]),
)
assert draw([volume], (16, 32, 32), quiet, Chance(0)).raw.max() < 0
"""


def test_an_augmentation_is_one_file(tmp_path: Path) -> None:
    """It is found, configured, checked and applied, without any other edit and without torch until it is applied."""
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / "inverted.py").write_text(TOY)
    (tmp_path / "drive.py").write_text(DRIVE)
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "model")])
    command = [
        sys.executable,
        tmp_path / "drive.py",
        tmp_path / "added",
        CHECKOUT / "configs" / "train_fib25_nano.toml",
    ]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("change", [{"name": "noise"}, {"place": 100}, {"table": "colours"}])
def test_augmentations_that_clash_are_refused(monkeypatch: pytest.MonkeyPatch, change: dict[str, object]) -> None:
    from fgnet.training.augmentations import curve

    augmentations.cache_clear()
    monkeypatch.setattr(curve, "AUGMENTATION", dataclasses.replace(curve.AUGMENTATION, **change))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"two augmentations have the|no table 'colours'"):
        augmentations()
    monkeypatch.undo()
    augmentations.cache_clear()


def test_values_out_of_range_are_named() -> None:
    with pytest.raises(ModelError, match=r"optimise\.augment\.warp\.zoom: got 0\.5, expected 1 to 10"):
        AugmentSettings(warp=WarpSettings(zoom=0.5)).check()
    AugmentSettings().check()


@pytest.mark.parametrize("isotropic", [True, False])
def test_symmetries_move_raw_and_labels_together(isotropic: bool) -> None:
    volume = dataclasses.replace(coded((16, 16, 16)), isotropic=isotropic)
    patch = cut(volume, (16, 16, 16), (0, 0, 0))
    seen = set()
    for seed in range(200):
        turned = named("symmetry").apply(patch, Chance(seed), NoSettings())
        assert torch.equal(turned.raw, turned.labels.float())
        seen.add(turned.labels.numpy().tobytes())
    assert len(seen) == (48 if isotropic else 16)


def test_a_misaligned_section_stays_aligned_with_its_labels() -> None:
    volume = coded((16, 32, 32))
    for seed in range(20):
        raw, labels = alone(named("misaligned"), volume, seed)
        known = labels > 0
        assert torch.equal(raw[known], labels[known].float()) and known.float().mean() > 0.7


def test_padding_has_one_value_and_no_labels_and_lost_sections_keep_theirs() -> None:
    kinds = set()
    for seed in range(40):
        noise = torch.randn(12, 16, 20, generator=torch.Generator().manual_seed(seed))
        volume = LabelledVolume(noise, torch.ones(12, 16, 20, dtype=torch.int32), isotropic=False)
        raw, labels = alone(named("padding"), volume, seed)
        changed = raw != noise
        value = raw[changed].unique()
        assert len(value) == 1 and 0.05 < changed.float().mean() < 0.65
        lost = (raw == value).flatten(1).all(1)
        assert not (changed & (labels == 1)).any() or ((labels == 1).all() and lost.sum() <= 2)
        assert (raw[labels == 0] == value).all()
        black, white = float(value) == float(noise.min()), float(value) == float(noise.max())
        kinds.add(("lost" if lost.any() else "padding", "black" if black else "white" if white else "grey"))
    assert len(kinds) == 6
    patch = cut(volume, (12, 16, 20), (0, 0, 0))
    assert named("padding").apply(patch, Chance(0), named("padding").settings()) is patch


@pytest.mark.parametrize("augmentation", GREY, ids=lambda a: a.name)
def test_grey_values_change_alone_and_the_volume_stays(augmentation: Augmentation) -> None:
    raw = torch.randn(16, 32, 32, generator=torch.Generator().manual_seed(0))
    volume = LabelledVolume(raw.clone(), torch.ones(16, 32, 32, dtype=torch.int32))
    changed, labels = alone(augmentation, volume, 4)
    assert not torch.equal(changed, raw) and torch.isfinite(changed).all() and changed.shape == raw.shape
    assert torch.equal(labels, volume.labels) and torch.equal(volume.raw, raw)


def test_zero_probability_leaves_raw_as_it_is() -> None:
    volume = LabelledVolume(torch.randn(32, 32, 32), coded((32, 32, 32)).labels)
    quiet = AugmentSettings(
        warp=WarpSettings(probability=0),
        intensity=IntensitySettings(contrast=0, curve=0, field=0, noise=0, blur=0, sharpen=0),
        defects=DefectSettings(**NEVER),
    )
    patch = draw([volume], (32, 32, 32), quiet, Chance(3))
    assert torch.equal(patch.raw.flatten().sort().values, volume.raw.flatten().sort().values)
