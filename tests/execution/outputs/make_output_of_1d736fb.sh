#!/usr/bin/env bash
# Made the archive output_of_1d736fb.tar.xz, with commit 1d736fb of this project checked out and installed:
#
#     bash make_output_of_1d736fb.sh EMPTY_FOLDER
#
# EMPTY_FOLDER then holds a generated volume, a mask of half its resolution, two configurations, and two outputs: `half`
# (a region of interest) and `whole` (a copy of `half`, grown to the whole volume).
set -euo pipefail
cd "$1"
python - <<'PYTHON'
import numpy as np
import zarr
from fgnet_pipeline.phantom import Phantom, generate

raw, _ = generate(Phantom(shape=(32, 48, 64), seed=12))
tissue = np.ones((16, 24, 32), np.uint8)
tissue[:8, :12, 18:] = 0
for name, data, size in (("raw", raw, 10), ("mask", tissue, 20)):
    array = zarr.create_array(f"{name}.zarr", shape=data.shape, dtype="uint8", chunks=(16, 24, 32))
    array[:] = data
    array.attrs.update(voxel_size=[size] * 3, offset=[0, 0, 0], axis_names=["z", "y", "x"], units=["nm"] * 3)
PYTHON
cat > whole.toml <<'TOML'
[volume]
path = "raw.zarr"
mask = "mask.zarr"

[output]
path = "whole"

[model]
checkpoint = "nano-fib25"

[fragments]
min_seed_distance = 3

[edges]
histogram = true

[agglomerate]
threshold = 0.3
leaf_blocks = 1

[schedule]
workers = 0
block_shape = [16, 24, 32]
TOML
sed 's/^mask.*/&\nroi = [[0, 0, 0], [320, 480, 300]]/; s/"whole"/"half"/' whole.toml > half.toml
fgnet run half.toml
cp -a half whole
fgnet run whole.toml
