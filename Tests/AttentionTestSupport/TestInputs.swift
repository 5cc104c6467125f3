import Attention

/// What the elements of Q and K look like: each kind strains the softmax in its own way.
public enum TestFill: String, Sendable, CaseIterable {
  /// Independent unit normal numbers: logits of a few units.
  case normal
  /// Logits up to about +-80, where the naive exponential of fp32 would overflow.
  case wideLogits
  /// Logits that rise by 100 along the keys, so that the running maximum keeps moving.
  case ascending
  /// One key in the middle outweighs all others.
  case dominant
  /// All keys are equal: uniform weights.
  case equalKeys
}

/// Query, key and value of one problem.
public struct TestInputs: Sendable {
  /// `[b, h, nQ, d]`.
  public var query: TestTensor
  /// `[b, hKV, nKV, d]`.
  public var key: TestTensor
  /// `[b, hKV, nKV, dV]`.
  public var value: TestTensor

  public init(query: TestTensor, key: TestTensor, value: TestTensor) {
    self.query = query
    self.key = key
    self.value = value
  }

  /// Fills the tensors of a problem from a seed. Values always are unit normal.
  public init(
    _ problem: AttentionProblem, fill: TestFill = .normal, seed: Int, layout: TestLayout = .bhnd
  ) {
    let shape = problem.shape
    var generator = TestGenerator(seed: seed)
    query = TestTensor(shape.query, layout: layout)
    key = TestTensor(shape.key, layout: layout)
    value = TestTensor(shape.value, layout: layout)
    // A unit vector's worth of logit: q . k of unit normal rows has deviation sqrt(d).
    let unit = problem.scale == 0 ? 1 : 1 / abs(problem.scale)
    let perColumn = unit / Float(shape.headDim)
    let middle = shape.keyLength / 2
    func normal(_: Int, _: Int, _: Int, _: Int) -> Float { generator.normal() }
    value.fill(normal)
    switch fill {
    case .normal:
      query.fill(normal)
      key.fill(normal)
    case .wideLogits:
      let factor = 25 * unit / Float(shape.headDim).squareRoot()
      query.fill { _, _, _, _ in generator.normal() * factor }
      key.fill(normal)
    case .ascending:
      query.fill { _, _, _, _ in 1 + 0.1 * generator.normal() }
      key.fill { _, _, row, _ in
        (100 * Float(row) / Float(shape.keyLength) + 0.5 * generator.normal()) * perColumn
      }
    case .dominant:
      query.fill { _, _, _, _ in 1 + 0.1 * generator.normal() }
      key.fill { _, _, row, _ in ((row == middle ? 40 : 0) + generator.normal()) * perColumn }
    case .equalKeys:
      query.fill(normal)
      key.fill { _, _, _, column in Float(column % 7) / 7 - 0.5 }
    }
  }

  /// The same elements, each a unit in its last place larger or smaller.
  public func moved(seed: Int = 1) -> TestInputs {
    let inputs = copy()
    var generator = TestGenerator(seed: seed)
    for tensor in [inputs.query, inputs.key, inputs.value] {
      tensor.forEachRow { batch, head, row in
        for column in 0..<tensor.shape.columns {
          let element = tensor[batch, head, row, column]
          tensor[batch, head, row, column] =
            generator.uniform() < 0.5 ? element.nextUp : element.nextDown
        }
      }
    }
    return inputs
  }

  /// The same elements in memory of their own.
  public func copy() -> TestInputs {
    TestInputs(query: query.copy(), key: key.copy(), value: value.copy())
  }
}

/// The outputs of one run, NaN until they are written.
public struct TestOutputs: Sendable {
  /// `[b, h, nQ, dV]`.
  public let output: TestTensor
  /// `[b, h, nQ, 1]`, if asked for.
  public let logSumExp: TestTensor?

  /// NaN-poisoned outputs for a problem.
  public init(_ problem: AttentionProblem, layout: TestLayout = .bhnd, logSumExp: Bool = true) {
    output = TestTensor(problem.shape.output, layout: layout)
    self.logSumExp = logSumExp ? TestTensor(problem.shape.logSumExp, layout: layout) : nil
  }

  /// What a run has left.
  public init(output: TestTensor, logSumExp: TestTensor?) {
    self.output = output
    self.logSumExp = logSumExp
  }

  /// The operands of a run on `inputs`.
  public func operands(_ inputs: TestInputs) -> AttentionOperands {
    AttentionOperands(
      query: inputs.query.view, key: inputs.key.view, value: inputs.value.view,
      output: output.mutableView, logSumExp: logSumExp?.mutableView)
  }

  /// All bits, of the output and then of the LSE.
  public var bits: [UInt32] { output.bits + (logSumExp?.bits ?? []) }

  /// Whether nothing outside the rows was written.
  public var hasIntactPadding: Bool {
    output.hasIntactPadding && logSumExp?.hasIntactPadding ?? true
  }
}
