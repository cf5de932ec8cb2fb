"""Two processes train one network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fgnet.training.batches import make_batch
from fgnet.training.loop import Trainer
from fgnet.training.losses import total_loss
from pipeline_tools import CHECKOUT
from tiny_network import SMALL
from tiny_training import SETTINGS, phantom

SCRIPT = """
import sys
from pathlib import Path
import torch
from fgnet.training.distributed import join, leave
from fgnet.training.loop import Trainer, run
from tiny_network import SMALL
from tiny_training import SETTINGS, phantom
torch.set_num_threads(1)
crew, device = join("cpu")
trainer = Trainer(SMALL, SETTINGS, [phantom()], device, crew)
run(trainer, Path(sys.argv[1]), 3)
torch.save(trainer.network.state_dict(), Path(sys.argv[1]) / f"rank{crew.rank}.pt")
leave()
"""


def test_two_processes_share_gradients_and_one_writes(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    paths = os.pathsep.join(
        [str(CHECKOUT), str(CHECKOUT / "model"), str(CHECKOUT / "tests"), os.environ.get("PYTHONPATH", "")]
    )
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"rank{r}.pt", weights_only=True) for r in (0, 1))
    assert all(torch.equal(first[k], second[k]) for k in first)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(losses) == SETTINGS.iterations
    alone = Trainer(SMALL, SETTINGS, [phantom()])
    shares = []
    for rank in (0, 1):
        batch = make_batch([phantom()], SETTINGS, 0, 0, rank)
        main, extra = batch.targets(SMALL)
        loss = total_loss(alone.network(batch.raw), *main, extra, SETTINGS.auxiliary_weight)
        shares.append(float(loss.detach()))
    assert shares[0] != shares[1] and losses[0] == pytest.approx(sum(shares) / 2, rel=1e-4)
