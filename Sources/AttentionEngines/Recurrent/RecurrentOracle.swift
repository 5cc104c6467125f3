import AttentionContract
import RealModule
import Tensors

/// A recurrence by its definition in fp64, for one query row from its last token back: with
/// S_t = decay_t S_{t-1} + key_t (value_t - (decay_t S_{t-1})^T erase_t)^T,
///
///     x^T S_t = (decay_t (x - (x . key_t) erase_t))^T S_{t-1} + (x . key_t) value_t^T
///
/// so that no state is needed. O(n (m + dV)) a row.
struct RecurrentOracle: AttentionOracle {
  private let strategy: any RecurrentStrategy
  private let problem: AttentionProblem
  private let recurrence: RecurrenceShape
  private let gates: [OperandDeclaration]

  init(_ strategy: any RecurrentStrategy, _ problem: AttentionProblem) {
    self.strategy = strategy.prepared(for: problem)
    self.problem = problem
    recurrence = strategy.recurrence(for: problem.shape)
    gates = strategy.operands.withoutState
  }

  func row(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> OracleRow {
    let shape = problem.shape
    let kvHead = head / shape.groupSize
    let geometry = problem.geometry(batch: batch)
    let visible = geometry.visible(from: row + geometry.offset)
    var output = [Double](repeating: 0, count: shape.valueDim)
    if visible.isEmpty { return OracleRow(output: output, logSumExp: -.infinity) }
    var x = doubles(inputs.query, batch, head, row)
    strategy.defineFeatures(&x)
    var addition = output
    var normaliser = 0.0
    let views = gates.map { inputs.named[$0.name] }
    var token = RecurrentDefinition(
      head: kvHead, key: [], value: output, addition: recurrence.adds ? output : [],
      erase: recurrence.erases ? x : [],
      decay: recurrence.decay == .none ? [] : recurrence.decay == .perHead ? [0] : x,
      gates: views.map { $0.map { Array(repeating: 0, count: $0.shape.columns) } })
    for t in visible.reversed() {
      token.key = doubles(inputs.key, batch, kvHead, t)
      strategy.defineFeatures(&token.key)
      read(inputs.value, batch, kvHead, t, into: &token.value)
      for (index, view) in views.enumerated() {
        guard let view else { continue }
        let row = view.gate(batch, kvHead, t)
        for column in 0..<view.shape.columns { token.gates[index]?[column] = Double(row[column]) }
      }
      strategy.define(&token)
      var weight = 0.0
      for i in x.indices { weight += x[i] * token.key[i] }
      normaliser += weight
      for c in output.indices { output[c] += weight * token.value[c] }
      if recurrence.adds, geometry.causal, t == row + geometry.offset { addition = token.addition }
      for i in token.erase.indices { x[i] -= weight * token.erase[i] }
      if token.decay.count == 1 {
        let factor = Double.exp(token.decay[0])
        for i in x.indices { x[i] *= factor }
      } else {
        for i in token.decay.indices { x[i] *= Double.exp(token.decay[i]) }
      }
    }
    if let state = inputs.named[RecurrentLayout.stateName] {
      for i in x.indices {
        let row = doubles(state, batch, kvHead, i)
        for c in output.indices { output[c] += x[i] * row[c] }
      }
    }
    let factor =
      recurrence.normalises
      ? 1 / (normaliser + RecurrenceShape.epsilon) : Double(problem.outputScale)
    return OracleRow(
      output: zip(output, addition).map { $0 * factor + $1 },
      logSumExp: recurrence.normalises ? Double.log(normaliser) : 0)
  }

  private func doubles(_ view: TensorView, _ batch: Int, _ head: Int, _ row: Int) -> [Double] {
    var row64 = [Double](repeating: 0, count: view.shape.columns)
    read(view, batch, head, row, into: &row64)
    return row64
  }

  private func read(
    _ view: TensorView, _ batch: Int, _ head: Int, _ row: Int, into row64: inout [Double]
  ) {
    if view.elementType == .float32 {
      let floats = view.row(batch, head, row)
      for column in row64.indices { row64[column] = Double(floats[column]) }
    } else {
      for (column, float) in view.floats(batch, head, row).enumerated() {
        row64[column] = Double(float)
      }
    }
  }
}
