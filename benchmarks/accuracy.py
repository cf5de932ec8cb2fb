"""Score models on the parts of the sample that `nano-fib25` never saw, over thresholds and seed distances.

    python benchmarks/accuracy.py nano-fib25 --data SAMPLE --out OUT --distances 5 6
    python benchmarks/accuracy.py NAME.safetensors plain=RUNS/unet_small-1-4349/last.pt --data SAMPLE --out OUT
    python benchmarks/accuracy.py nano-fib25 --data SAMPLE --out OUT --table

A model is a shipped name, a file of exported weights, or NAME=STATE: a plain U-Net that ablation.py trained (variants
`unet` and `unet_small`). Each volume goes through the pipeline with the blocks of `configs/fib25_nano.toml`. Affinities
are predicted once per model and place, into OUT/MODEL/PLACE; fragments and merge tree follow once per seed distance.
The same command goes on if it was stopped. Every result is a line of OUT/accuracy.jsonl, written as it comes.

The table has one row per model, place, seed distance and measure, and one column per threshold. `all`: VOI of all
labelled voxels, in bits; lower is better, as in the next two. `cremi`: the same by CREMI's rule. `inner`: the same for
voxels more than two voxels, in their section, from a voxel beside another label. `nerl`: normalised expected run length
on skeletons of the labels, as `fgnet evaluate --skeletons-from-labels` gives it, in [0, 1]; higher is better. `nerl10`:
the same with `--merge-nodes 10`. `oracle` is the same for fragments that are merged without an error.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from ablation import GEOMETRY
from plain_unet import write_affinities

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.evaluation import skeleton_place
from fgnet_pipeline.evaluation.comparison import line_up
from fgnet_pipeline.evaluation.evaluate import Comparison, scores_of
from fgnet_pipeline.evaluation.label_skeletons import skeletons_of_labels
from fgnet_pipeline.evaluation.protocols import CREMI, FGNET, EvaluationProtocol
from fgnet_pipeline.evaluation.skeleton_files import Skeleton
from fgnet_pipeline.evaluation.skeleton_scores import graph_of_skeletons
from fgnet_pipeline.evaluation.stored_tree import StoredTree, open_agglomerated
from fgnet_pipeline.evaluation.sweep import FragmentReader
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.kernels import contingency
from fgnet_pipeline.kernels.agglomeration.merge_tree import lut
from fgnet_pipeline.kernels.contingency import Contingency, majority_labels
from fgnet_pipeline.kernels.run_length import Graph, perfectly_merged, run_lengths
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.job import Job

CONFIG = Path(__file__).parents[1] / "configs" / "fib25_nano.toml"
THRESHOLDS = (*(round(0.02 * step, 2) for step in range(5, 21)), 0.45, 0.5)
INNER = EvaluationProtocol("inner", border_nm=20.0)
#: Run length -> how many nodes of a skeleton a segment must hold to count as one that holds it.
RUNS = {"nerl": 1, "nerl10": 10}
MEASURES = {"all": FGNET, "cremi": CREMI, "inner": INNER}
ORACLE = "oracle"


@dataclass(frozen=True)
class Place:
    """Sections of a volume of the sample.

    Attributes:
        volume: name of the group.
        segmented: sections [begin, end) that go through the pipeline; None is all.
        scored: sections [begin, end) that are scored; None is all.
    """

    volume: str
    segmented: tuple[int, int] | None = None
    scored: tuple[int, int] | None = None


PLACES = {
    "fib25": Place("fib25", None, (140, 180)),
    "fib25_teacher": Place("fib25_teacher", (256, 384), (256, 384)),
    "gala": Place("gala"),
    "gala_example": Place("gala_example"),
}


@dataclass(frozen=True)
class Model:
    """A model by the name of its folder: weights for the pipeline, or the training state of a plain U-Net."""

    name: str
    checkpoint: str | None = None
    state: Path | None = None

    @classmethod
    def named(cls, text: str) -> Model:
        """The model that a word of the command line names."""
        name, sign, state = text.partition("=")
        return cls(name, state=Path(state)) if sign else cls(Path(text).stem, checkpoint=text)


@dataclass(frozen=True)
class Case:
    """One model on one place.

    Attributes:
        data: folder of the sample.
        folder: for affinities and outputs.
        model: the model.
        place: name of the place.
        workers: number of processes.
    """

    data: Path
    folder: Path
    model: Model
    place: str
    workers: int

    @property
    def group(self) -> Path:
        """The volume of the place."""
        return self.data / f"{PLACES[self.place].volume}.zarr"

    def settings(self, output: str) -> list[str]:
        """What all runs of this case set."""
        found = [f"output.path={self.folder / output}", f"schedule.workers={self.workers}"]
        sections = PLACES[self.place].segmented
        if sections is not None:
            raw: Any = zarr.open_array(self.group / "raw", mode="r")
            z, y, x = raw.attrs["voxel_size"]
            corners = [[sections[0] * z, 0, 0], [sections[1] * z, raw.shape[1] * y, raw.shape[2] * x]]
            found.append(f"volume.roi={json.dumps(corners)}")
        return found

    def affinities(self) -> str:
        """Path of the affinities, which are predicted if they are not there."""
        output = self.folder / "predict.zarr"
        if self.model.state is not None:
            if not (output / "affinities").exists():
                sections = PLACES[self.place].segmented
                write_affinities(self.model.state, self.group / "raw", sections, output / "affinities", GEOMETRY)
        else:
            settings = [f"volume.path={self.group / 'raw'}", f"model.checkpoint={self.model.checkpoint}"]
            run(load_config(CONFIG, [*self.settings("predict.zarr"), *settings]), ("predict",))
        return str(output / "affinities")

    def agglomerated(self, affinities: str, distance: int) -> Job:
        """The job of a finished agglomeration of fragments with this seed distance."""
        settings = [f"affinities.path={affinities}", f"fragments.min_seed_distance={distance}"]
        config = without_model(load_config(CONFIG, [*self.settings(f"distance-{distance}.zarr"), *settings]))
        run(config, ("fragments", "edges", "agglomerate"))
        return open_agglomerated(config)


def without_model(config: Config) -> Config:
    """The same configuration, but it starts from affinities: without raw and without a model."""
    tables = config.model_dump(mode="json", exclude_unset=True)
    tables["volume"].pop("path")
    tables.pop("model")
    return load_config(tables)


class Scored:
    """The labels of one place, which all models are scored by."""

    def __init__(self, data: Path, place: str) -> None:
        self.labels = str(data / f"{PLACES[place].volume}.zarr" / "labels")
        self.sections = PLACES[place].scored
        self._skeletons: list[Skeleton] | None = None

    def comparison(self, job: Job) -> Comparison:
        """The fragments of a job against the labels."""
        first, last = self.sections or (0, job.bounds.end[0])
        end = ",".join(map(str, (last, *job.bounds.end[1:])))
        return line_up(FragmentReader(job), job.frame, self.labels, f"{first},0,0", end)

    def graph(self, job: Job) -> Graph:
        """The skeletons of the labels, with a fragment at each node."""
        comparison = self.comparison(job)
        if self._skeletons is None:
            self._skeletons = skeletons_of_labels(comparison, job.frame)
        nodes = np.concatenate([skeleton.nodes for skeleton in self._skeletons])
        voxels, inside = skeleton_place.Place(job.frame, job.bounds.shape).voxels(nodes)
        box = comparison.overlap()
        fragments = FragmentReader(job)[box.slices()][tuple((voxels - box.begin).T)]
        return graph_of_skeletons(self._skeletons, fragments, inside)

    def rows(self, job: Job, thresholds: Sequence[float]) -> Iterator[dict[str, Any]]:
        """One row per threshold, and a last one for the oracle."""
        comparison, graph = self.comparison(job), self.graph(job)
        tables = {name: replace(comparison, protocol=protocol).contingency() for name, protocol in MEASURES.items()}
        stored = StoredTree(job)
        fragments = np.unique(np.concatenate([*(table.segments for table in tables.values()), graph.segment]))
        fragments = fragments[fragments > 0]
        stored.include(fragments)
        names = stored.names(fragments)
        for threshold in thresholds:
            segments = lut(names, stored.merges, threshold)
            cut = {name: contingency.relabel(table, names, segments) for name, table in tables.items()}
            at_nodes = np.where(graph.segment > 0, segments[np.searchsorted(names, graph.segment) % len(names)], 0)
            yield row(threshold, cut, dict.fromkeys(RUNS, replace(graph, segment=at_nodes)))
        best = {name: contingency.relabel(table, *majority_labels(table)) for name, table in tables.items()}
        yield row(ORACLE, best, {name: perfectly_merged(graph, nodes) for name, nodes in RUNS.items()})


def row(threshold: float | str, tables: dict[str, Contingency], graphs: dict[str, Graph]) -> dict[str, Any]:
    """The scores of one segmentation.

    Args:
        threshold: or `ORACLE`.
        tables: per measure.
        graphs: skeletons with segments, per run length.
    """
    found: dict[str, Any] = {"threshold": threshold}
    for name, table in tables.items():
        scores = scores_of(table, MEASURES[name])
        found[name] = {"split": scores.voi_split, "merge": scores.voi_merge, "rand": scores.adapted_rand_error}
    for name, nodes in RUNS.items():
        runs = run_lengths(graphs[name], nodes)
        found[name] = {"nm": runs.expected, "share": runs.normalised, "mergers": len(runs.mergers)}
    return found


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def value_of(found: dict[str, Any], measure: str) -> float:
    """What the table shows of a row."""
    return float(found[measure]["share"]) if measure in RUNS else found[measure]["split"] + found[measure]["merge"]


def print_table(lines: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    """Print the rows of the models, places and distances that were asked for."""
    columns = [*options.thresholds, ORACLE]
    print(
        "| model | place | seed distance | measure | " + " | ".join(str(c).replace("0.", ".") for c in columns) + " |"
    )
    print("|---" * (4 + len(columns)) + "|")
    for name, place, distance in cells(options):
        of_cell = {(str(x["threshold"])): x for x in lines if is_of(x, name, place, distance)}
        for measure in (*MEASURES, *RUNS) if of_cell else ():
            values = (f"{value_of(of_cell[str(c)], measure):.3f}" if str(c) in of_cell else "-" for c in columns)
            print(f"| {name} | {place} | {distance} | {measure} | " + " | ".join(v.lstrip("0") for v in values) + " |")


def cells(options: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """(model, place, seed distance) of everything that was asked for."""
    for place in options.places:
        for model in options.models:
            for distance in options.distances:
                yield Model.named(model).name, place, distance


def is_of(line: dict[str, Any], name: str, place: str, distance: int) -> bool:
    """Whether a row is of this model, place and seed distance."""
    return bool((line["model"], line["place"], line["distance"]) == (name, place, distance))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="a shipped name, exported weights, or NAME=STATE")
    parser.add_argument("--data", type=Path, required=True, help="folder of the sample")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--places", nargs="+", default=list(PLACES), choices=PLACES)
    parser.add_argument("--distances", type=int, nargs="+", default=[6], help="fragments.min_seed_distance")
    parser.add_argument("--thresholds", type=float, nargs="+", default=THRESHOLDS)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only print what is finished")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    path = options.out.resolve() / "accuracy.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    for place in () if options.table else options.places:
        scored = Scored(options.data.resolve(), place)
        for model in map(Model.named, options.models):
            folder = path.parent / model.name / place
            case = Case(options.data.resolve(), folder, model, place, options.workers)
            for distance in options.distances:
                done = {x["threshold"] for x in read_lines(path) if is_of(x, model.name, place, distance)}
                if done >= {*options.thresholds, ORACLE}:
                    continue
                job = case.agglomerated(case.affinities(), distance)
                for found in scored.rows(job, options.thresholds):
                    line = {"model": model.name, "place": place, "distance": distance, **found}
                    with open(path, "a") as file:
                        file.write(json.dumps(line) + "\n")
                print(f"{model.name} {place} seed distance {distance}: done", flush=True)
    print_table(read_lines(path), options)


if __name__ == "__main__":
    main()
