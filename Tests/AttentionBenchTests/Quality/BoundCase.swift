import Attention
import AttentionBench
import AttentionTestSupport
import Foundation
import TensorFiles

/// Tensors that try a bound on a restricted strategy's error.
struct BoundCase: CustomStringConvertible {
  let name: String
  let problem: AttentionProblem
  let tensors: ProblemTensors

  var description: String { "\(name) \(problem.summary)" }

  /// Inputs of a fill, the values changed by `values(row, normal)`.
  init(
    _ name: String, _ problem: AttentionProblem, _ fill: TestFill, seed: Int,
    values: (Int, Float) -> Float = { $1 }
  ) throws {
    self.name = name
    self.problem = problem
    tensors = try ProblemTensors(problem.shape)
    let inputs = TestInputs(problem, fill: fill, seed: seed)
    for (from, to) in [
      (inputs.query, tensors.query), (inputs.key, tensors.key), (inputs.value, tensors.value),
    ] {
      var index = 0
      from.forEachRow { batch, head, row in
        for element in from[batch, head, row] {
          to.elements[index] = to === tensors.value ? values(row, element) : element
          index += 1
        }
      }
    }
  }

  /// Real tensors: a layer of the repository's cut, the first `n` rows.
  init(layer: String, n: Int, causal: Bool) throws {
    let path = #filePath.replacing(
      "Tests/AttentionBenchTests/Quality/BoundCase.swift",
      with: "Tests/Fixtures/real/minilm-n512-layers0and3.safetensors")
    let inputs = try AttentionInputs(TensorReference("\(path):\(layer)"))
    let file = try FileProblem(
      query: FileProblem.Source(inputs.query, name: "q"),
      key: FileProblem.Source(inputs.key, name: "k"),
      value: FileProblem.Source(inputs.value, name: "v"))
    name = layer
    problem = try AttentionProblem(try file.shape(n: n), visibility: Visibility(causal: causal))
    tensors = try SweepInputs.tensors(file).tensors(for: problem)
  }

  /// Random and adversarial inputs, causal and not, with grouped heads, more than one sequence,
  /// rows without keys, and real ones.
  static func all() throws -> [BoundCase] {
    let plain = try AttentionShape(heads: 2, queryLength: 90, headDim: 16, valueDim: 12)
    let grouped = try AttentionShape(
      batch: 2, heads: 4, kvHeads: 2, queryLength: 50, keyLength: 70, headDim: 8, valueDim: 20)
    var cases: [BoundCase] = []
    for fill in TestFill.allCases {
      for causal in [false, true] {
        cases.append(
          try BoundCase(
            fill.rawValue, AttentionProblem(plain, visibility: Visibility(causal: causal)), fill,
            seed: 3))
      }
    }
    let offset = QueryOffset.perBatch([20, -7])
    cases.append(
      try BoundCase(
        "grouped", AttentionProblem(grouped, visibility: Visibility(causal: true, offset: offset)),
        .normal, seed: 4))
    cases.append(
      try BoundCase(
        "options",
        AttentionProblem(
          grouped, scoring: Scoring(softcap: 4, sinkLogits: [-2, 0.5, 3, -.infinity]),
          visibility: Visibility(causal: true, keyLengths: [61, 33])), .wideLogits, seed: 12))
    // What lies outside most windows outweighs, or outsizes, all the rest.
    cases.append(
      try BoundCase("outsized", AttentionProblem(plain), .normal, seed: 5) { row, value in
        row == 45 ? 1e6 * value : value
      })
    cases.append(
      try BoundCase(
        "far mean", AttentionProblem(plain, visibility: Visibility(causal: true)), .dominant,
        seed: 6
      ) {
        row, value in row < 10 ? value - 300 : value + 100
      })
    cases.append(
      try BoundCase("equal values", AttentionProblem(plain), .wideLogits, seed: 7) { _, _ in 2 })
    for layer in ["layer0", "layer3"] {
      cases.append(try BoundCase(layer: layer, n: 96, causal: false))
      cases.append(try BoundCase(layer: layer, n: 96, causal: true))
    }
    return cases
  }

  /// Every registered family with its defaults, and narrower and odder than that.
  func strategies() throws -> [any AttentionStrategy] {
    let registry = StrategyRegistry.standard
    // What takes operands is given some.
    return try registry.defaults().map {
      $0.operands.allSatisfy(\.isOptional) ? $0 : SuppliedStrategy($0)
    }
      + registry.strategies(
        "window(1), window(32), window(9, sinks: 2), window(7, global: 3), window(left: 0, right: 5),"
          + "strided(1), strided(7), strided(20), fixed(5, 2), fixed(16, 8), fixed(90, 1),"
          + "topk(1), topk(9), topblocks(4, 3), topblocks(8, 2, rows: 16), quest(5, 3), "
          + "vertical_slash(6, 5)")
  }

  /// Every row of an operator in fp64, in the order of batch, head and row.
  func rows(_ oracle: any AttentionOracle, value: TensorView? = nil) -> [OracleRow] {
    let shape = problem.shape
    let inputs = InputViews(
      query: tensors.query.view, key: tensors.key.view, value: value ?? tensors.value.view)
    return (0..<shape.batch * shape.heads).flatMap { index in
      let (batch, head) = index.quotientAndRemainder(dividingBy: shape.heads)
      let oracle = oracle.prepared(inputs, batch: batch, head: head)
      return (0..<shape.queryLength).map {
        oracle.row(inputs, batch: batch, head: head, row: $0)
      }
    }
  }
}

/// The Euclidean distance of two rows, or the norm of one.
func distance(_ a: [Double], _ b: [Double]? = nil) -> Double {
  let differences = b.map { zip(a, $0).map { $0 - $1 } } ?? a
  return differences.reduce(0) { $0 + $1 * $1 }.squareRoot()
}
