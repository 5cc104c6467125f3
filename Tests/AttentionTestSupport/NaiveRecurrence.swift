import Attention
import RealModule

/// A recurrence in fp32, token by token as it is written down: the error that whoever computes it so has to
/// live with.
public struct NaiveRecurrence {
  private let problem: AttentionProblem
  private let strategy: any RecurrentStrategy
  private let recurrence: RecurrenceShape
  private let named: [String: TensorView]

  /// - Parameter named: the operands beyond query, key and value.
  public init(
    _ strategy: any RecurrentStrategy, _ problem: AttentionProblem,
    named: [String: TensorView] = [:]
  ) {
    self.problem = problem
    self.strategy = strategy.prepared(for: problem)
    self.named = named
    recurrence = strategy.recurrence(for: problem.shape)
  }

  /// How far all its rows lie from what `oracleRows` gave.
  public func deviation(from truth: [OracleRow], _ inputs: TestInputs) -> Deviation {
    run(inputs).deviation(from: truth)
  }

  /// Outputs of all rows.
  public func run(_ inputs: TestInputs) -> TestOutputs {
    let outputs = TestOutputs(problem)
    for batch in 0..<problem.shape.batch {
      for kvHead in 0..<problem.shape.kvHeads { run(inputs, outputs, batch, kvHead) }
    }
    return outputs
  }

  private func run(_ inputs: TestInputs, _ outputs: TestOutputs, _ batch: Int, _ kvHead: Int) {
    let shape = problem.shape
    let geometry = problem.geometry(batch: batch)
    let (m, dV) = (recurrence.features ?? shape.headDim, shape.valueDim)
    let size = max(m, shape.headDim) + 64
    var state = [Float](repeating: 0, count: m * dV)
    var sum = [Float](repeating: 0, count: m)
    func memory(_ count: Int) -> UnsafeMutablePointer<Float> {
      let memory = UnsafeMutablePointer<Float>.allocate(capacity: count)
      memory.initialize(repeating: 0, count: count)
      return memory
    }
    let (key, value, addition) = (memory(size), memory(dV), memory(dV))
    let (erase, decay, query) = (memory(size), memory(size), memory(size))
    defer { for pointer in [key, value, addition, erase, decay, query] { pointer.deallocate() } }
    let gates = strategy.operands.filter { $0.name != "state" }
    var taken = 0
    for row in 0..<geometry.queryLength {
      let visible = geometry.visible(from: row + geometry.offset).upperBound
      while taken < visible {
        for (i, x) in inputs.key[batch, kvHead, taken].enumerated() { key[i] = x }
        for (i, x) in inputs.value[batch, kvHead, taken].enumerated() { value[i] = x }
        strategy.mapFeatures(key, headDim: shape.headDim, kernels: .active)
        let rows = gates.map { gate in
          named[gate.name].map { view in
            view.base + (view.shape.batch == 1 ? 0 : batch) * view.batchStride
              + (view.shape.heads == 1 ? 0 : kvHead) * view.headStride
              + (view.shape.rows == 1 ? 0 : taken) * view.rowStride
          }
        }
        (rows + [nil]).withUnsafeBufferPointer { rows in
          (rows.map { _ in 0 }).withUnsafeBufferPointer { strides in
            guard let rows = rows.baseAddress, let strides = strides.baseAddress else { return }
            // One token: no stride plays a part.
            let tokens = RecurrentTokens(
              head: kvHead, count: 1, keys: key, values: value, additions: addition,
              erases: erase, decays: decay, keyStride: 0, valueStride: 0, additionStride: 0,
              eraseStride: 0, decayStride: 0, headDim: shape.headDim, valueDim: dV, gates: rows,
              gateStrides: strides, kernels: .active)
            strategy.take(tokens[0])
          }
        }
        step(&state, m, dV, key: key, value: value, erase: erase, decay: decay)
        for i in 0..<m { sum[i] += key[i] }
        taken += 1
      }
      let isOwn = geometry.causal && taken == row + geometry.offset + 1
      for head in kvHead * shape.groupSize..<(kvHead + 1) * shape.groupSize {
        for (i, x) in inputs.query[batch, head, row].enumerated() { query[i] = x }
        strategy.mapFeatures(query, headDim: shape.headDim, kernels: .active)
        var weight: Float = 0
        for i in 0..<m { weight += query[i] * sum[i] }
        for c in 0..<dV {
          var x: Float = 0
          for i in 0..<m { x += query[i] * state[i * dV + c] }
          x *= recurrence.normalises ? 1 / (weight + 1e-6) : problem.scale
          if recurrence.adds, isOwn { x += addition[c] }
          outputs.output[batch, head, row, c] = visible == 0 ? 0 : x
        }
        outputs.logSumExp?[batch, head, row, 0] =
          visible == 0 ? -.infinity : recurrence.normalises ? Float.log(weight) : 0
      }
    }
  }

  private func step(
    _ state: inout [Float], _ m: Int, _ dV: Int, key: UnsafeMutablePointer<Float>,
    value: UnsafeMutablePointer<Float>, erase: UnsafeMutablePointer<Float>,
    decay: UnsafeMutablePointer<Float>
  ) {
    for i in 0..<m where recurrence.decay != .none {
      let factor = exponential(decay[recurrence.decay == .perHead ? 0 : i])
      for c in 0..<dV { state[i * dV + c] *= factor }
    }
    for c in 0..<dV {
      var written = value[c]
      if recurrence.erases { for i in 0..<m { written -= erase[i] * state[i * dV + c] } }
      for i in 0..<m { state[i * dV + c] += key[i] * written }
    }
  }

  private func exponential(_ x: Float) -> Float { Float.exp(x) }
}
