#!/usr/bin/env bash
# transformers reads a GGUF file of Llama's kind without its rope scaling.
#
# Guess:    from_pretrained(gguf_file=...) gives the model in the file. The scaling of positions is part of
#           it: as metadata, llama.rope.scaling.type and .factor, or, for Llama 3.1 and later, as a tensor
#           rope_freqs.weight of what each frequency is divided by. What a reader does not know it names.
# Happens:  all of them are left out: rope_type is "default", the angles are those of an unscaled model.
#           Every weight is right and there is no warning, so what shows is worse text, which Llama 3.1's
#           scaling makes a matter of the distance: tokens next to each other hardly differ. Only the
#           reader's section for gpt-oss restores rope.scaling.
# Instead:  hand the configuration over: config=AutoConfig.from_pretrained(FOLDER, gguf_file=...) with its
#           rope_parameters set. The model is then the one that was written.
# Seen in:  transformers 5.24.0, gguf 0.19.0, torch 2.13.0 on the CPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  transformers==5.24.0 gguf==0.19.0 accelerate==1.15.0 torch==2.13.0

TQDM_DISABLE=1 "$work/venv/bin/python" -W ignore - "$work" <<'PYTHON' | tee "$work/seen"
import pathlib
import sys

import gguf
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, set_seed

folder = pathlib.Path(sys.argv[1])
text = (torch.arange(400) ** 2 * 7 % 61)[None]
kinds = {
    "linear": {"factor": 4.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 128},
    "llama3": {
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 128},
}


def write(path, model):
    """As a converter writes it: q and k in pairs of neighbours, the scaling as metadata or as a tensor."""
    config, positions = model.config, model.config.rope_parameters
    heads, layers = config.num_attention_heads, config.num_hidden_layers
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(positions["rope_theta"])
    if positions["rope_type"] == "llama3":
        plain = positions["rope_theta"] ** (-torch.arange(0, config.head_dim, 2) / config.head_dim)
        writer.add_tensor("rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq).numpy())
    else:
        writer.add_rope_scaling_type(gguf.RopeScalingType(positions["rope_type"]))
        writer.add_rope_scaling_factor(positions["factor"])
        if positions["rope_type"] == "yarn":
            writer.add_rope_scaling_orig_ctx_len(positions["original_max_position_embeddings"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    for name, weights in model.state_dict().items():
        if "q_proj" in name or "k_proj" in name:
            weights = weights.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
        writer.add_tensor(names.get_name(name, (".weight",)), weights.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


for kind, settings in kinds.items():
    set_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        initializer_range=0.3, max_position_embeddings=512,
        rope_parameters={"rope_type": kind, "rope_theta": 10000.0} | settings)).eval()
    file = f"{kind}.gguf"
    write(folder / file, model)
    config = AutoConfig.from_pretrained(folder, gguf_file=file)
    print(f"{kind}: read as {config.rope_parameters['rope_type']}")
    told = AutoConfig.from_pretrained(folder, gguf_file=file)
    told.rope_parameters = model.config.rope_parameters
    for name, given in (("as it is", config), ("told", told)):
        read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, config=given).eval()
        weights = dict(read.named_parameters())
        same = all(torch.equal(weights[key], weight) for key, weight in model.named_parameters())
        with torch.no_grad():
            gaps = (model(text).logits - read(text).logits).abs().amax((0, 2)) / model(text).logits.abs().max()
        rows = (f"{row}: {'same' if gaps[row] < 1e-5 else 'other' if gaps[row] > 0.1 else 'near'}"
                for row in (0, 1, 399))
        print(f"  {name:8} weights {'same' if same else 'other'}, token", ", ".join(rows))
PYTHON

diff - "$work/seen" <<'SEEN'
linear: read as default
  as it is weights same, token 0: same, 1: near, 399: other
  told     weights same, token 0: same, 1: same, 399: same
yarn: read as default
  as it is weights same, token 0: same, 1: near, 399: other
  told     weights same, token 0: same, 1: same, 399: same
llama3: read as default
  as it is weights same, token 0: same, 1: near, 399: other
  told     weights same, token 0: same, 1: same, 399: same
SEEN
