"""Which devices compute in bfloat16."""

from __future__ import annotations

import torch


def computes_bfloat16(device: torch.device) -> bool:
    """True if the device has instructions for bfloat16.

    Other devices emulate it, which is far slower than float32 on a CPU with AVX2 alone.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return any(bool(found.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def onednn_computes(dtype: torch.dtype) -> bool:
    """True if oneDNN convolves in `dtype` on this CPU; it refuses bfloat16 on a CPU without AVX512."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))
