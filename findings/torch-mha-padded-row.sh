#!/usr/bin/env bash
# torch's nn.MultiheadAttention on a sequence that is all padding: NaN or a number, depending on what else is
# asked for.
#
# Guess:    scaled_dot_product_attention on the CPU gives 0 for a row without a key, so the layer, which is
#           built on it, gives its output's bias. In any case one answer: whether weights are wanted as well,
#           or gradients, is no matter of the numbers.
# Happens:  with need_weights=True, the default, the layer does its own softmax, and the sequence is NaN,
#           weights and all. With need_weights=False it is the bias while training, and in evaluation with
#           gradients; in evaluation without them a third implementation takes over, and it is NaN again.
#           TransformerEncoder asks for no weights. It trains with a number there, and without gradients it
#           has 0, or NaN with enable_nested_tensor=False. So NaNs may come with deployment alone, and a
#           test in evaluation mode that forgets no_grad does not see them. The other sequence of the batch
#           is right in all cases.
# Instead:  leave key 0 of such sequences visible and drop their output; or
#           torch.backends.mha.set_fastpath_enabled(False) and need_weights=False.
# Seen in:  torch 2.13.0 on the CPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0

"$work/venv/bin/python" -W ignore - <<'PYTHON' | tee "$work/seen"
import torch

torch.manual_seed(0)
tokens = torch.randn(2, 3, 8)
padding = torch.tensor([[False, False, True], [True, True, True]])
layer = torch.nn.MultiheadAttention(8, 2, batch_first=True)
torch.nn.init.normal_(layer.out_proj.bias)


def attention(need_weights):
    return layer, lambda: layer(tokens, tokens, tokens, padding, need_weights=need_weights)[0]


def encoder(nested):
    torch.manual_seed(0)
    one = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    stack = torch.nn.TransformerEncoder(one, 2, enable_nested_tensor=nested)
    return stack, lambda: stack(tokens, src_key_padding_mask=padding)


def word(output):
    if output.isnan().all():
        return "NaN"
    if torch.allclose(output, layer.out_proj.bias.expand_as(output)):
        return "bias"
    return "0" if (output == 0).all() else "NaN in part" if output.isnan().any() else "number"


for name, (module, call) in {
    "attention, weights": attention(True),
    "attention, no weights": attention(False),
    "encoder": encoder(True),
    "encoder, not nested": encoder(False),
}.items():
    for fast in (True, False):
        torch.backends.mha.set_fastpath_enabled(fast)
        answers, first = [], []
        for training, gradients in ((True, True), (False, True), (False, False)):
            module.train(training)
            with torch.set_grad_enabled(gradients):
                output = call().detach()
            answers.append(word(output[1]))
            first.append(output[0, :2])
        assert all(torch.allclose(rows, first[0], atol=1e-5) for rows in first)
        print(f"{name:21} fast path {'on: ' if fast else 'off:'} training {answers[0]:6}",
              f"evaluation {answers[1]:6} without gradients {answers[2]}")
PYTHON

diff - "$work/seen" <<'SEEN'
attention, weights    fast path on:  training NaN    evaluation NaN    without gradients NaN
attention, weights    fast path off: training NaN    evaluation NaN    without gradients NaN
attention, no weights fast path on:  training bias   evaluation bias   without gradients NaN
attention, no weights fast path off: training bias   evaluation bias   without gradients bias
encoder               fast path on:  training number evaluation number without gradients 0
encoder               fast path off: training number evaluation number without gradients number
encoder, not nested   fast path on:  training number evaluation number without gradients NaN
encoder, not nested   fast path off: training number evaluation number without gradients number
SEEN
