import Attention
import MachineTopology
import Records
import Statistics
import Units

/// A step of decoding from what a decoder keeps: all tokens but the last nQ are taken in once, and each run
/// takes in those from there.
///
/// Of a state, which going back writes anew, a run takes the step after that one: as in a model, the caches
/// then hold what a step has left there.
final class PreparedStep: PreparedCell {
  private let decoder: any AttentionDecoder
  private let checker: OutputChecker
  private let loaded: AttentionExecutor.Loaded
  /// What `operands` point to, with the output of `loaded`.
  private let tensors: ProblemTensors
  private let operands: AttentionOperands
  private let team: WorkerTeam
  private let keepsState: Bool
  /// Why the next run cannot take place.
  private var refusal: AttentionError?

  /// Tokens taken in at a time before the step: few, so that the queries they need take no memory to
  /// speak of.
  private static let prefillRows = 64

  /// - Throws: `AttentionError` when the strategy cannot decode the problem, an operand is given that no
  ///   step takes, or memory is refused.
  init(
    _ cell: SweepCell, tensors loaded: AttentionExecutor.Loaded, team: WorkerTeam
  ) throws(AttentionError) {
    let shape = cell.problem.shape
    self.team = team
    keepsState = ((try? cell.work.get())?.stateBytes ?? 0) > 0
    decoder = try cell.strategy.decoder(for: cell.problem, on: team)
    tensors = try loaded.stored(for: cell.strategy)
    let taken = Set(decoder.declaredOperands.map(\.name))
    if let name = tensors.named.keys.sorted().first(where: { !taken.contains($0) }) {
      throw AttentionError(
        .invalidArgument, argument: "operand \(name)", value: "given",
        advice: "a step begins with the state after the tokens before it; leave it out")
    }
    checker = OutputChecker(cell, loaded, team)
    self.loaded = loaded
    let past = shape.keyLength - shape.queryLength
    // The axes of the whole tensors: those that the decoder declares have the rows of a step.
    let declared = cell.strategy.operands
    operands = tensors.step(
      past..<shape.keyLength, query: tensors.query.view, declared: declared,
      output: loaded.output.mutableView)
    try takeIn(past, declared: declared, storage: cell.problem.storage)
    try decoder.mark()
  }

  /// Takes in the first tokens. Their outputs are of no use, and so any queries will do, and whatever valid
  /// operands come with those.
  private func takeIn(
    _ past: Int, declared: [OperandDeclaration], storage: Storage
  ) throws(AttentionError) {
    var shape = decoder.problem.shape
    shape.queryLength = min(Self.prefillRows, past)
    if past == 0 { return }
    let query = try Tensor(shape.query, elementType: storage.query)
    let output = try Tensor(shape.output, elementType: storage.output)
    var named = tensors.named
    for operand in declared where operand.axes.contains(.queryLength) {
      if named[operand.name] == nil { continue }
      named[operand.name] = try operand.random(for: shape, seed: 0)
    }
    let tensors = tensors.with(named)
    for first in stride(from: 0, to: past, by: Self.prefillRows) {
      let rows = first..<min(first + Self.prefillRows, past)
      try decoder.takeIn(
        tensors.step(
          rows, query: query.view.rows(first: 0, count: rows.count), declared: declared,
          output: output.mutableView.rows(first: 0, count: rows.count)),
        newTokens: nil)
    }
  }

  var workspaceBytes: Int? { decoder.workspaceBytes + decoder.cacheBytes }

  func arm() {
    loaded.check.invalidate(operands.output)
    refusal = nil
    do throws(AttentionError) {
      try decoder.rewind()
      if keepsState { try decoder.step(operands, newTokens: nil) }
    } catch {
      refusal = error
    }
    team.wake()
  }

  func run() throws {
    if let refusal { throw refusal }
    try decoder.step(operands, newTokens: nil)
  }

  func check() throws -> OutputCheck {
    if keepsState {
      loaded.check.invalidate(operands.output)
      try decoder.rewind()
      try decoder.step(operands, newTokens: nil)
    }
    return try checker.check(operands.output.reading)
  }
}

extension ProblemTensors {
  /// The operands of a step that takes in some of the tokens: those rows along the axes of keys, and as many
  /// as there are queries, the first ones, along those of queries.
  fileprivate func step(
    _ tokens: Range<Int>, query: TensorView, declared: [OperandDeclaration],
    output: MutableTensorView
  ) -> AttentionOperands {
    var views: [String: TensorView] = [:]
    for declaration in declared {
      guard let view = named[declaration.name]?.view else { continue }
      views[declaration.name] =
        view.part(tokens, along: declaration.axes.firstIndex(of: .keyLength))
        .part(0..<query.shape.rows, along: declaration.axes.firstIndex(of: .queryLength))
    }
    return AttentionOperands(
      query: query, key: key.view.rows(first: tokens.lowerBound, count: tokens.count),
      value: value.view.rows(first: tokens.lowerBound, count: tokens.count), named: views,
      output: output)
  }
}

extension TensorView {
  /// The places of a range along one of the four axes; all where there is no axis.
  fileprivate func part(_ range: Range<Int>, along axis: Int?) -> TensorView {
    var sizes = [shape.batch, shape.heads, shape.rows, shape.columns]
    guard let axis else { return self }
    sizes[axis] = range.count
    let stride = [batchStride, headStride, rowStride, 1][axis]
    return TensorView(
      unchecked: address + range.lowerBound * stride * elementType.byteCount, elementType,
      shape: TensorShape(unchecked: sizes[0], sizes[1], sizes[2], sizes[3]),
      strides: (batchStride, headStride, rowStride), placement: placement, owner: owner)
  }
}
