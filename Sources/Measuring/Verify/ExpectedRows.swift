import Attention
import MachineTopology
import RealModule
import Records
import Statistics
import Units

/// What a strategy has to give on some rows of a problem, and how far rounding may take it from
/// there: the one definition of a right output, for `verify`, sweeps and choices alike.
struct ExpectedRows: Sendable {
  /// How far the definition moves under roundings, and what that allows.
  let bounds: ErrorBounds
  /// The strategy's definition on operands as its arithmetic rounds them: for each row all that is right.
  private let definition: [[OracleRow]]
  /// Full softmax attention on such operands, where the output has to be that as well.
  private let full: [OracleRow]?

  /// Evaluates oracles in fp64, on the inputs and on inputs moved by a rounding.
  ///
  /// Moved inputs are made a key/value head at a time, so that they take the memory of one head a
  /// worker, whatever the problem.
  ///
  /// - Parameters:
  ///   - tensors: fp32, with the operands that the strategy takes: what the stored elements stand for,
  ///     since storage is no error of a strategy.
  ///   - isFull: whether the output has to be full softmax attention as well; nil where the class is exact.
  init(
    of strategy: any AttentionStrategy, on problem: AttentionProblem, _ check: AccuracyCheck,
    tensors: ProblemTensors, seed: UInt64, isFull: Bool? = nil, team: WorkerTeam
  ) throws(AttentionError) {
    func references(_ oracle: any AttentionOracle) -> [OracleRow] {
      check.references(oracle, tensors.views, on: team)
    }
    let own = strategy.oracle(for: problem)
    let right = check.admissible(own, tensors.views, on: team)
    let plain = right.compactMap(\.first)
    let moving = MovedInputs(
      check, problem.shape, tensors, domains: strategy.operands.domains, seed: seed, team: team)
    let moved = try moving.roundingInputs(own, reach: strategy.queryReach)
    let sensitivity = RowErrors(of: moved, against: Self.nearest(right, to: moved))
    // Rounded operands would hide so small a change of the inputs, or exaggerate it.
    var weights: RowErrors?
    var sums: RowErrors?
    if strategy.arithmetic != .float32 {
      definition = check.admissible(
        strategy.arithmeticOracle(for: problem), tensors.views, on: team)
      weights = try moving.roundingWeights(own, by: strategy.arithmetic.unitRoundoff / 2, of: plain)
      let rounded = (0..<8).compactMap {
        strategy.roundingOracle(for: problem, draw: seed &+ $0)
      }
      if !rounded.isEmpty {
        let exact = definition.compactMap(\.first)
        sums = rounded.reduce(into: RowErrors()) { errors, oracle in
          for (row, reference) in zip(references(oracle), exact) {
            errors.add(row, reference: reference)
          }
        }
      }
    } else {
      definition = right
    }
    full =
      isFull ?? (strategy.operatorClass == .exact)
      ? references(strategy.fullOracle(for: problem)) : nil
    bounds = ErrorBounds(
      problem, sensitivity: sensitivity, narrow: [weights, sums].compactMap { $0 })
  }

  /// Holds rows to the definition and, where the output has to be full attention, to that as well.
  func compare(_ found: [OracleRow]) -> Verification.Comparison {
    compare(found) { reference in RowErrors(of: found, against: reference) }
  }

  /// The same for the checked rows of an output alone: nobody has asked for the LSE.
  func compare(_ output: TensorView, _ check: AccuracyCheck) -> Verification.Comparison {
    compare(check.rows(of: output, logSumExpsOf: definition.compactMap(\.first))) { reference in
      check.errors(of: output, against: reference)
    }
  }

  private func compare(
    _ found: [OracleRow], _ errors: ([OracleRow]) -> RowErrors
  ) -> Verification.Comparison {
    var worse = errors(Self.nearest(definition, to: found))
    if bounds.allow(worse), let full {
      let toFull = errors(full)
      if !bounds.allow(toFull) { worse = toFull }
    }
    return Verification.Comparison(errors: worse, bounds: bounds, rowsChecked: definition.count)
  }

  /// Of what is right for each row what was found lies nearest to.
  private static func nearest(_ right: [[OracleRow]], to found: [OracleRow]) -> [OracleRow] {
    zip(right, found).compactMap { rows, found in
      if rows.count == 1 { return rows.first }
      func distance(_ row: OracleRow) -> Double {
        let distance = zip(row.output, found.output).reduce(0) { sum, pair in
          let difference = pair.0 - pair.1
          return sum + difference * difference
        }
        return distance.isNaN ? .infinity : distance
      }
      return rows.min { distance($0) < distance($1) }
    }
  }
}
