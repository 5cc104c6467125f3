import Attention
import AttentionTestSupport
import Testing

/// Takes whole sequences through a decoder step by step.
struct DecodeRun {
  /// The sequences: `[b, h, L, d]`, `[b, hKV, L, d]`, `[b, hKV, L, dV]`.
  let inputs: TestInputs
  /// Outputs of all tokens taken in, where a run over the whole sequences would put them.
  let outputs: TestOutputs

  /// - Parameter problem: of whole sequences, `queryLength` and `keyLength` L.
  init(_ problem: AttentionProblem, seed: Int) {
    inputs = TestInputs(problem, seed: seed)
    outputs = TestOutputs(problem)
  }

  /// The problem that a decoder for the sequences is made with.
  static func problem(
    of whole: AttentionProblem, step: Int = 1, elements: Storage = Storage()
  ) throws -> AttentionProblem {
    let shape = whole.shape
    return try AttentionProblem(
      AttentionShape(
        batch: shape.batch, heads: shape.heads, kvHeads: shape.kvHeads, queryLength: step,
        keyLength: shape.keyLength, headDim: shape.headDim, valueDim: shape.valueDim),
      scoring: Scoring(
        scale: whole.scoring.scale, softcap: whole.scoring.softcap,
        sinkLogits: whole.scoring.sinkLogits),
      visibility: Visibility(
        causal: whole.visibility.causal, prefixLengths: whole.visibility.prefixLengths,
        windowLeft: whole.visibility.windowLeft, windowRight: whole.visibility.windowRight,
        chunk: whole.visibility.chunk, alibiSlopes: whole.visibility.alibiSlopes), storage: elements
    )
  }

  /// One step: the next `counts[entry]` tokens of each entry, taken in only where it does not attend.
  func step(_ decoder: any AttentionDecoder, _ counts: [Int], attends: Bool = true) throws {
    let rows = max(counts.max() ?? 1, 1)
    let first = decoder.tokens
    let isEven = counts.allSatisfy { $0 == rows }
    let query = try cut(inputs.query, first, counts, rows)
    let key = try cut(inputs.key, first, counts, rows)
    let value = try cut(inputs.value, first, counts, rows)
    let shape = decoder.problem.shape
    let output = try TestTensor(
      TensorShape(shape.batch, shape.heads, rows, shape.valueDim), layout: .paddedInterleaved)
    let lse = try TestTensor(TensorShape(shape.batch, shape.heads, rows, 1))
    let operands = AttentionOperands(
      query: query.view, key: key.view, value: value.view, output: output.mutableView,
      logSumExp: lse.mutableView)
    let newTokens = isEven ? nil : counts
    if attends {
      try decoder.step(operands, newTokens: newTokens)
    } else {
      try decoder.takeIn(operands, newTokens: newTokens)
    }
    let expected = zip(first, counts).map { $0 + $1 }
    #expect(decoder.tokens == expected)
    if !attends { return }
    #expect(output.hasIntactPadding)
    output.forEachRow { entry, head, row in
      if row >= counts[entry] {
        let isUntouched = output[entry, head, row].allSatisfy(\.isNaN)
        #expect(isUntouched, "a row without a token was written")
        return
      }
      for column in 0..<shape.valueDim {
        outputs.output[entry, head, first[entry] + row, column] = output[entry, head, row, column]
      }
      outputs.logSumExp?[entry, head, first[entry] + row, 0] = lse[entry, head, row, 0]
    }
  }

  /// What errors are relative to: an output of softmax is a mean of values, others are as large as they
  /// are.
  func size(_ specimen: Specimen) -> Double {
    if specimen.isSoftmax { return 1 }
    var largest: Float = 1
    outputs.output.forEachRow { entry, head, row in
      for value in outputs.output[entry, head, row] where abs(value) > largest {
        largest = abs(value)
      }
    }
    return Double(largest)
  }

  /// The rows of a step; NaN where an entry brings fewer.
  private func cut(
    _ whole: TestTensor, _ first: [Int], _ counts: [Int], _ rows: Int
  ) throws -> TestTensor {
    let shape = whole.shape
    let part = try TestTensor(
      TensorShape(shape.batch, shape.heads, rows, shape.columns), layout: .bnhd)
    part.forEachRow { entry, head, row in
      if row >= counts[entry] { return }
      for column in 0..<shape.columns {
        part[entry, head, row, column] = whole[entry, head, first[entry] + row, column]
      }
    }
    return part
  }

  /// The largest difference of any output or LSE of the tokens taken in from an oracle's.
  func error(
    _ oracle: any AttentionOracle, _ decoder: any AttentionDecoder, key: TestTensor? = nil,
    value: TestTensor? = nil
  ) -> Double {
    var deviation = Deviation()
    let (key, value) = (key ?? inputs.key, value ?? inputs.value)
    outputs.output.forEachRow { entry, head, row in
      if row >= decoder.tokens[entry] { return }
      deviation.add(
        outputs.output[entry, head, row], logSumExp: outputs.logSumExp?[entry, head, row, 0],
        truth: oracle.row(
          InputViews(query: inputs.query.view, key: key.view, value: value.view), batch: entry,
          head: head,
          row: row))
    }
    return max(deviation.maximum, deviation.logSumExp)
  }
}

extension KeyValueCache {
  /// What a cache holds, as fp32 tensors of `rows` rows.
  func contents(rows: Int) throws -> (key: TestTensor, value: TestTensor) {
    let views = self.views(rows: rows)
    let tensors = (key: TestTensor(views.key.shape), value: TestTensor(views.value.shape))
    for (view, tensor) in [(views.key, tensors.key), (views.value, tensors.value)] {
      for entry in 0..<shape.batch {
        for head in 0..<shape.kvHeads {
          for row in 0..<lengths[entry] {
            for (column, element) in self.row(view, entry, head, row).enumerated() {
              tensor[entry, head, row, column] = element
            }
          }
        }
      }
    }
    return tensors
  }
}
