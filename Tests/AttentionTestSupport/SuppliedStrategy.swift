import Attention
import MachineTopology

/// A strategy whose operands beyond query, key and value are supplied, so that it can be tested like one that
/// takes none.
///
/// A number depends on the operand, its row and its column alone: whatever heads, sequences or tokens of a
/// problem are computed alone get what they get together.
public struct SuppliedStrategy: AttentionStrategy {
  /// The strategy itself.
  public let base: any AttentionStrategy

  public init(_ base: any AttentionStrategy) { self.base = base }

  public var name: String { base.name }
  public var operatorClass: OperatorClass { base.operatorClass }
  public var arithmetic: Arithmetic { base.arithmetic }
  public var keyValueStorage: ElementType? { base.keyValueStorage }
  public var usesBLAS: Bool { base.usesBLAS }
  public var dependsOnHeadNumbers: Bool { base.dependsOnHeadNumbers }
  public var servesCausalMasks: Bool { base.servesCausalMasks }
  public var laterRowsDecide: Bool { base.laterRowsDecide }
  public var queryReach: QueryReach { base.queryReach }
  public var selectsKeys: Bool { base.selectsKeys }
  public func resolvedParameters(for problem: AttentionProblem) -> String {
    base.resolvedParameters(for: problem)
  }
  public func explanation(for problem: AttentionProblem) -> String {
    base.explanation(for: problem)
  }
  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate { try base.work(for: problem, threads: threads) }
  public func pattern(for geometry: MaskGeometry) -> any KeyPattern { base.pattern(for: geometry) }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    SuppliedPlan(
      try base.plan(for: problem, on: team), try Supply(base.operands, for: problem.shape))
  }

  public func decoder(
    for problem: AttentionProblem, cache: CacheChoice, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionDecoder {
    SuppliedDecoder(try base.decoder(for: problem, cache: cache, on: team), base.operands)
  }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    do {
      return SuppliedOracle(
        oracle: base.oracle(for: problem), supply: try Supply(base.operands, for: problem.shape))
    } catch {
      fatalError("no memory for operands: \(error)")
    }
  }

  /// The operands of a problem.
  public func supply(for shape: AttentionShape) throws(AttentionError) -> Supply {
    try Supply(base.operands, for: shape)
  }
}

/// Operands of one problem.
public struct Supply: Sendable {
  private let declarations: [OperandDeclaration]
  private let shape: AttentionShape
  private let tensors: [Tensor]
  /// Views by name.
  public let views: [String: TensorView]

  init(
    _ declared: [OperandDeclaration], for shape: AttentionShape
  ) throws(AttentionError) {
    declarations = declared.filter { !$0.isOptional }
    self.shape = shape
    var tensors: [Tensor] = []
    var views: [String: TensorView] = [:]
    for declaration in declarations {
      let tensor = try Tensor(declaration.shape(in: shape))
      tensors.append(tensor)
      views[declaration.name] = tensor.view
    }
    self.tensors = tensors
    self.views = views
    fill(from: Array(repeating: 0, count: shape.batch))
  }

  /// Writes the rows of the tokens from `first` on, by batch entry.
  func fill(from first: [Int]) {
    for (declaration, tensor) in zip(declarations, tensors) {
      let shape = tensor.shape
      let base = declaration.name.utf8.reduce(UInt64(7)) { $0 &* 31 &+ UInt64($1) }
      // Heads that are not the problem's, as those of an index, are never computed alone.
      let hasOwnHeads =
        declaration.axes.count > 1 && ![.heads, .kvHeads].contains(declaration.axes[1])
      var index = 0
      for entry in 0..<shape.batch {
        for head in 0..<shape.heads {
          for row in 0..<shape.rows {
            for column in 0..<shape.columns {
              let isOfTokens =
                declaration.axes.contains(.keyLength) || declaration.axes.contains(.queryLength)
              let place = UInt64((isOfTokens ? first[entry] : 0) + row)
              let own = hasOwnHeads ? UInt64(head) &* 0x10_0000_0000 : 0
              tensor.elements[index] = declaration.value(
                of: Self.uniform(base &+ own &+ place &* 1009 &+ UInt64(column)), for: self.shape)
              index += 1
            }
          }
        }
      }
    }
  }

  /// SplitMix64's output function.
  private static func uniform(_ number: UInt64) -> Double {
    var z = (number &+ 1) &* 0x9e37_79b9_7f4a_7c15
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return Double((z ^ (z >> 31)) >> 11) * 0x1p-53
  }
}

private struct SuppliedOracle: AttentionOracle {
  let oracle: any AttentionOracle
  let supply: Supply

  func row(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> OracleRow {
    oracle.row(supplied(inputs), batch: batch, head: head, row: row)
  }

  func admissible(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [OracleRow] {
    oracle.admissible(supplied(inputs), batch: batch, head: head, row: row)
  }

  private func supplied(_ inputs: InputViews) -> InputViews {
    var inputs = inputs
    inputs.named = supply.views
    return inputs
  }

  func prepared(_ inputs: InputViews, batch: Int, head: Int) -> any AttentionOracle {
    SuppliedOracle(
      oracle: oracle.prepared(supplied(inputs), batch: batch, head: head), supply: supply)
  }

  func keptKeys(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Int]? {
    oracle.keptKeys(supplied(inputs), batch: batch, head: head, row: row)
  }
}

private final class SuppliedPlan: AttentionPlan {
  private let plan: any AttentionPlan
  private let supply: Supply

  init(_ plan: any AttentionPlan, _ supply: Supply) { (self.plan, self.supply) = (plan, supply) }

  var problem: AttentionProblem { plan.problem }
  var workspaceBytes: Int { plan.workspaceBytes }
  var takesKeyLengths: Bool { plan.takesKeyLengths }
  var takesPagedRows: Bool { plan.takesPagedRows }

  func execute(_ operands: AttentionOperands) {
    var operands = operands
    operands.inputs.named = supply.views
    plan.execute(operands)
  }
}

private final class SuppliedDecoder: AttentionDecoder {
  private let decoder: any AttentionDecoder
  private let declared: [OperandDeclaration]
  /// Operands of steps of so many rows, made once.
  private var supplies: [Int: Supply] = [:]

  init(_ decoder: any AttentionDecoder, _ declared: [OperandDeclaration]) {
    (self.decoder, self.declared) = (decoder, declared)
  }

  var problem: AttentionProblem { decoder.problem }
  var tokens: [Int] { decoder.tokens }
  var cacheBytes: Int { decoder.cacheBytes }
  var workspaceBytes: Int { decoder.workspaceBytes }
  func prepare(newTokens count: Int) throws(AttentionError) {
    try decoder.prepare(newTokens: count)
  }
  func truncate(entry: Int, to count: Int) throws(AttentionError) {
    try decoder.truncate(entry: entry, to: count)
  }
  func mark() throws(AttentionError) { try decoder.mark() }
  func rewind() throws(AttentionError) { try decoder.rewind() }

  func step(_ operands: AttentionOperands, newTokens: [Int]?) throws(AttentionError) {
    let rows = operands.query.shape.rows
    var supply = supplies[rows]
    if supply == nil {
      let whole = problem.shape
      supply = try Supply(
        declared,
        for: AttentionShape(
          batch: whole.batch, heads: whole.heads, kvHeads: whole.kvHeads, queryLength: rows,
          headDim: whole.headDim, valueDim: whole.valueDim))
      supplies[rows] = supply
    }
    supply?.fill(from: tokens)
    var operands = operands
    operands.inputs.named = supply?.views ?? [:]
    try decoder.step(operands, newTokens: newTokens)
  }
}
