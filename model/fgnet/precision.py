"""Where bfloat16 pays, and where it can be had at all."""

from __future__ import annotations

import torch


def computes_bfloat16(device: torch.device) -> bool:
    """True where the device has instructions for bfloat16; elsewhere it would be emulated, and slower than float32.

    On a CPU with AVX2 alone a training step in mixed precision took fifty times as long as in float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return any(bool(found.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def onednn_computes(dtype: torch.dtype) -> bool:
    """True where oneDNN convolves on this CPU in ``dtype``; it refuses bfloat16 on a CPU without AVX512."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))
