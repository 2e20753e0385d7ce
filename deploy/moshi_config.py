# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""moshi-server's configuration for Kyutai's 1B model (English and French, 0.5 s delay, semantic pauses), and its weights."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = "kyutai/stt-1b-en_fr-candle"
MODEL_FILE = "model.safetensors"
TEXT_TOKENIZER_FILE = "tokenizer_en_fr_audio_8000.model"
AUDIO_TOKENIZER_FILE = "mimi-pytorch-e351c8d8@125.safetensors"
FILES = (MODEL_FILE, TEXT_TOKENIZER_FILE, AUDIO_TOKENIZER_FILE)

#: Steps of 80 ms that the model's words come behind the audio.
DELAY_STEPS = 6

PATH = "/api/asr-streaming"
API_KEY = "public_token"


def moshi_config(weights: Path, *, batch_size: int, log_directory: Path, temperature: float = 0.0) -> str:
    """TOML for `moshi-server worker --config`. The numbers of the network are those of the published weights.

    moshi-server serves all files of its static directory, so this names one that does not exist.
    """
    return f"""\
static_dir = "{log_directory / "nothing"}"
log_dir = "{log_directory}"
instance_name = "stt"
authorized_ids = ["{API_KEY}"]

[modules.asr]
type = "BatchedAsr"
path = "{PATH}"
lm_model_file = "{weights / MODEL_FILE}"
text_tokenizer_file = "{weights / TEXT_TOKENIZER_FILE}"
audio_tokenizer_file = "{weights / AUDIO_TOKENIZER_FILE}"
asr_delay_in_tokens = {DELAY_STEPS}
batch_size = {batch_size}
conditioning_learnt_padding = true
temperature = {float(temperature)}

[modules.asr.model]
audio_vocab_size = 2049
text_in_vocab_size = 8001
text_out_vocab_size = 8000
audio_codebooks = 32

[modules.asr.model.transformer]
d_model = 2048
num_heads = 16
num_layers = 16
dim_feedforward = 8192
causal = true
norm_first = true
bias_ff = false
bias_attn = false
context = 750
max_period = 100000
use_conv_block = false
use_conv_bias = true
gating = "silu"
norm = "RmsNorm"
positional_embedding = "Rope"
conv_layout = false
conv_kernel_size = 3
kv_repeat = 1
max_seq_len = 40960

[modules.asr.model.extra_heads]
num_heads = 4
dim = 6
"""


def missing_weights(weights: Path) -> list[str]:
    return [name for name in FILES if not (weights / name).is_file()]


def fetch_weights(weights: Path, commit: str) -> None:
    """Download what is missing (about 2.4 GB). Needs huggingface_hub, which the container has."""
    from huggingface_hub import hf_hub_download  # noqa: PLC0415  only in the container

    for name in missing_weights(weights):
        hf_hub_download(REPOSITORY, name, revision=commit, local_dir=weights)


def commit_now(revision: str) -> str:
    """The commit that a revision (a commit, branch or tag) of the model's repository means now."""
    from huggingface_hub import HfApi  # noqa: PLC0415

    return str(HfApi().model_info(REPOSITORY, revision=revision).sha)
