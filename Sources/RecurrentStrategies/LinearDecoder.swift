import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// Linear attention as a recurrence: one token in, one output row out.
///
/// Keeps S = sum phi(k) v^T and z = sum phi(k) of one key/value head; a step adds the new key and
/// value and reads the state with the new queries. The result is that of causal `linear` at the
/// same position, at O(d dV) work and memory a step whatever the length.
///
/// Katharopoulos 2020, arXiv 2006.16236, section 3.4.
public struct LinearDecoder: ~Copyable {
  private let scratch: LinearScratch
  private let headDim: Int
  private let valueDim: Int
  private let queryHeads: Int
  private let step: AttentionShape

  /// A decoder for one key/value head that `queryHeads` query heads share.
  ///
  /// - Throws: `AttentionError` when a size is below 1 or memory is refused.
  public init(queryHeads: Int = 1, headDim: Int, valueDim: Int) throws(AttentionError) {
    let step = try AttentionShape(
      heads: queryHeads, kvHeads: 1, queryLength: 1, keyLength: 1, headDim: headDim,
      valueDim: valueDim)
    let scratch = try LinearScratch(LinearStateLayout(step, kernels: .active), kernels: .active)
    self.step = step
    self.scratch = scratch
    self.queryHeads = queryHeads
    self.headDim = headDim
    self.valueDim = valueDim
  }

  /// Forgets the sequence.
  public mutating func reset() { scratch.reset() }

  /// Takes in one token and writes its output rows.
  ///
  /// - Parameters:
  ///   - query: `[queryHeads][d]`.
  ///   - key: `[d]`.
  ///   - value: `[dV]`.
  ///   - output: `[queryHeads][dV]`, overwritten.
  /// - Throws: `AttentionError` of kind `shapeMismatch` when a buffer has another length.
  public mutating func step(
    query: UnsafeBufferPointer<Float>, key: UnsafeBufferPointer<Float>,
    value: UnsafeBufferPointer<Float>, output: UnsafeMutableBufferPointer<Float>
  ) throws(AttentionError) {
    let query = try expect(query, "query", queryHeads * headDim)
    let key = TensorView(try expect(key, "key", headDim), shape: step.key)
    let value = TensorView(try expect(value, "value", valueDim), shape: step.value)
    let out = try expect(UnsafeBufferPointer(output), "output", queryHeads * valueDim)
    let operands = AttentionOperands(
      query: TensorView(query, shape: step.query), key: key, value: value,
      output: MutableTensorView(UnsafeMutablePointer(mutating: out), shape: step.output))
    scratch.load(keys: 0..<1, key: key, value: value, batch: 0, kvHead: 0, limit: 1)
    scratch.accumulate(count: 1, into: scratch.state)
    let lanes = scratch.layout.lanes
    for panel in 0..<(queryHeads + lanes - 1) / lanes {
      scratch.attend(
        operands, batch: 0,
        rows: PanelRows(
          panel: panel, lanes: lanes, total: queryHeads, kvHead: 0, groupSize: queryHeads),
        upcoming: nil,
        geometry: MaskGeometry(queryLength: 1, keyLength: 1, offset: 0, causal: true),
        state: scratch.state, chunk: 0..<0)
    }
  }

  private func expect(
    _ buffer: UnsafeBufferPointer<Float>, _ name: String, _ count: Int
  ) throws(AttentionError) -> UnsafePointer<Float> {
    guard buffer.count == count, let base = buffer.baseAddress else {
      throw AttentionError(
        .shapeMismatch, argument: name, value: "\(buffer.count) floats",
        advice: "the decoder was made for \(count)")
    }
    return base
  }
}
