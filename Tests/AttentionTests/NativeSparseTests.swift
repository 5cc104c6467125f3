import Attention
import AttentionTestSupport
import MachineTopology
import RealModule
import Testing

/// Native sparse attention beside its definition, written down once more, where blocks have to compete.
@Suite struct NativeSparseTests {
  private struct Parameters {
    let block: Int
    let top: Int
    let window: Int
    let first: Int
    let local: Int

    var text: String { "nsa(\(block), \(top), \(window), first: \(first), local: \(local))" }
  }

  private static let parameters = [
    Parameters(block: 4, top: 4, window: 6, first: 1, local: 2),
    Parameters(block: 7, top: 3, window: 1, first: 0, local: 1),
    Parameters(block: 16, top: 5, window: 40, first: 2, local: 2),
    Parameters(block: 1, top: 9, window: 5, first: 1, local: 3),
    Parameters(block: 8, top: 3, window: 300, first: 1, local: 2),
  ]

  private static func problems() throws -> [AttentionProblem] {
    let shapes = try [
      AttentionShape(
        batch: 2, heads: 4, kvHeads: 2, queryLength: 60, keyLength: 80, headDim: 19, valueDim: 21),
      AttentionShape(heads: 2, queryLength: 1, keyLength: 90, headDim: 8),
      AttentionShape(heads: 1, queryLength: 1, headDim: 3, valueDim: 1),
      AttentionShape(heads: 6, kvHeads: 1, queryLength: 70, headDim: 33, valueDim: 5),
    ]
    return try shapes.flatMap { shape in
      try [
        Visibility(causal: true), Visibility(),
        Visibility(
          causal: true, offset: .fixed(-9),
          keyLengths: [shape.keyLength - 1]
            + Array(repeating: shape.keyLength / 2, count: shape.batch - 1)),
        Visibility(
          causal: true, offset: .fixed(30),
          queryLengths: Array(repeating: (shape.queryLength + 1) / 2, count: shape.batch)),
        Visibility(offset: .fixed(-5)),
      ].map { try AttentionProblem(shape, visibility: $0) }
    }
  }

  /// Straight from the text: nothing is shared with the library but what is visible.
  private static func row(
    _ problem: AttentionProblem, _ inputs: TestInputs, _ gate: TensorView, _ p: Parameters,
    _ batch: Int, _ head: Int, _ row: Int
  ) -> [Double]? {
    let geometry = problem.geometry(batch: batch)
    let group = problem.shape.groupSize
    let kvHead = head / group
    let position = row + geometry.offset
    let visible = Array(geometry.visible(from: position))
    if visible.isEmpty { return nil }
    let length = geometry.keyLength
    let blocks = (0..<(length + p.block - 1) / p.block).map { index in
      Array(index * p.block..<min((index + 1) * p.block, length))
    }
    func mean(_ tensor: TestTensor, _ keys: [Int]) -> [Double] {
      (0..<tensor.shape.columns).map { column in
        keys.reduce(0) { $0 + Double(tensor[batch, kvHead, $1, column]) } / Double(keys.count)
      }
    }
    func score(_ head: Int, _ key: [Double]) -> Double {
      zip(inputs.query[batch, head, row], key).reduce(0) { $0 + Double($1.0) * $1.1 }
        * Double(problem.scale)
    }
    func softmax(_ scores: [Double]) -> [Double] {
      let largest = scores.max() ?? 0
      let sum = scores.reduce(0) { $0 + Double.exp($1 - largest) }
      return scores.map { Double.exp($0 - largest) / sum }
    }
    func mix(_ weights: [Double], _ values: [[Double]]) -> [Double] {
      (0..<problem.shape.valueDim).map { column in
        zip(weights, values).reduce(0) { $0 + $1.0 * $1.1[column] }
      }
    }
    func attend(_ keys: [Int]) -> [Double] {
      mix(
        softmax(keys.map { score(head, inputs.key[batch, kvHead, $0].map(Double.init)) }),
        keys.map { inputs.value[batch, kvHead, $0].map(Double.init) })
    }
    let ended = blocks.indices.filter { !geometry.causal || ($0 + 1) * p.block <= position + 1 }
    let keyMeans = ended.map { mean(inputs.key, blocks[$0]) }
    let compressed = mix(
      softmax(keyMeans.map { score(head, $0) }), ended.map { mean(inputs.value, blocks[$0]) })
    // What each block weighs, over the heads of the group.
    var weights = [Double](repeating: 0, count: blocks.count)
    for member in kvHead * group..<(kvHead + 1) * group {
      for (block, weight) in zip(ended, softmax(keyMeans.map { score(member, $0) })) {
        weights[block] += weight
      }
    }
    let own = Int((Double(position) / Double(p.block)).rounded(.down))
    let seen = blocks.indices.filter { !Set(blocks[$0]).isDisjoint(with: visible) }
    let certain = seen.filter { block in
      (own - p.local + 1...own).contains(block)
        || block < p.first
    }
    let others = seen.filter { !certain.contains($0) }
      .sorted { weights[$0] > weights[$1] || weights[$0] == weights[$1] && $0 < $1 }
    let kept = certain + others.prefix(max(p.top - certain.count, 0))
    let selected = attend(kept.flatMap { blocks[$0] }.filter { visible.contains($0) }.sorted())
    let near = visible.filter {
      geometry.causal
        ? (position - p.window + 1...position).contains($0)
        : (position - p.window / 2...position + p.window / 2).contains($0)
    }
    let window = attend(near)
    let gates = (0..<3).map { Double(gate.row(batch, head, row)[$0]) }
    return (0..<problem.shape.valueDim).map {
      gates[0] * compressed[$0] + gates[1] * selected[$0] + gates[2] * window[$0]
    }
  }

  @Test(arguments: 0..<parameters.count)
  func outputsAreTheDefinition(_ index: Int) throws {
    let parameters = Self.parameters[index]
    let specimen = try Specimen(parsing: parameters.text)
    let supplied = try #require(specimen.strategy as? SuppliedStrategy)
    for (number, problem) in try Self.problems().enumerated() {
      let inputs = TestInputs(problem, seed: 80 + number)
      let outputs = try specimen.run(problem, inputs, threads: 2)
      let lse = try #require(outputs.logSumExp)
      let gate = try #require(try supplied.supply(for: problem.shape).views["gate"])
      let oracle = specimen.strategy.oracle(for: problem)
      let views = InputViews(
        query: inputs.query.view, key: inputs.key.view, value: inputs.value.view)
      var (wrong, exchanged) = (0, 0)
      outputs.output.forEachRow { batch, head, row in
        if row >= problem.geometry(batch: batch).queryLength || (row + head) % 3 == 1 { return }
        let found = outputs.output[batch, head, row]
        let own = oracle.row(views, batch: batch, head: head, row: row)
        guard
          let definition = Self.row(problem, inputs, gate, parameters, batch, head, row)
        else {
          #expect(found.allSatisfy { $0 == 0 } && lse[batch, head, row, 0] == -.infinity)
          #expect(own.logSumExp == -.infinity)
          return
        }
        #expect(lse[batch, head, row, 0] == 0)
        for (x, y) in zip(own.output, definition) {
          #expect(abs(x - y) < 1e-11, "\(problem) \(row)")
        }
        let right = oracle.admissible(views, batch: batch, head: head, row: row)
        let isRight = right.contains { truth in
          zip(found, truth.output).allSatisfy { abs(Double($0.0) - $0.1) < 1e-5 }
        }
        if !isRight { wrong += 1 }
        if right.count > 1 { exchanged += 1 }
      }
      #expect(wrong == 0, "\(parameters.text) \(problem)")
      // Random scores lie apart: hardly anything is forgiven.
      #expect(exchanged <= 1)
    }
  }

  /// Whatever comes later changes no bit of an earlier row, in any of the branches.
  @Test(arguments: 0..<parameters.count)
  func theFutureDoesNotLeak(_ index: Int) throws {
    let specimen = try Specimen(parsing: Self.parameters[index].text)
    let shape = try AttentionShape(heads: 4, kvHeads: 2, queryLength: 96, headDim: 8)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 5)
    let before = try specimen.run(problem, inputs)
    for changed in [1, 16, 48, 63, 80, 95] {
      for factor in [Float(-3), .nan] {
        let other = inputs.copy()
        for tensor in [other.query, other.key, other.value] {
          tensor.forEachRow { batch, head, row in
            if row < changed { return }
            for column in 0..<8 { tensor[batch, head, row, column] *= factor }
          }
        }
        let after = try specimen.run(problem, other)
        var leaks = 0
        after.output.forEachRow { batch, head, row in
          if row >= changed { return }
          let same = zip(after.output[batch, head, row], before.output[batch, head, row])
            .allSatisfy { $0.0 == $0.1 }
          if !same { leaks += 1 }
        }
        #expect(leaks == 0, "changed from \(changed)")
      }
    }
  }

  /// Each gate passes its own branch: a window, blocks, means.
  @Test func gatesTakeBranchesApart() throws {
    let strategy = try StrategyRegistry.standard.strategy("nsa(8, 4, 12)")
    let shape = try AttentionShape(heads: 2, kvHeads: 1, queryLength: 60, headDim: 16)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 3)
    func run(_ gates: [Float]) throws -> TestOutputs {
      let gate = try TestTensor(TensorShape(1, 2, 60, 3))
      gate.fill { _, _, _, column in gates[column] }
      let outputs = TestOutputs(problem)
      var operands = outputs.operands(inputs)
      operands.inputs.named = ["gate": gate.view]
      try strategy.plan(for: problem, on: Teams.of(2)).run(operands)
      return outputs
    }
    let window = try Specimen(parsing: "window(12)").run(problem, inputs)
    let branches = try [run([1, 0, 0]), run([0, 1, 0]), run([0, 0, 1])]
    let all = try run([0.5, 0.25, 1])
    for head in 0..<2 {
      for row in 0..<60 {
        for column in 0..<16 {
          let parts = branches.map { $0.output[0, head, row, column] }
          #expect(abs(parts[2] - window.output[0, head, row, column]) < 1e-5)
          let sum = 0.5 * parts[0] + 0.25 * parts[1] + parts[2]
          #expect(abs(all.output[0, head, row, column] - sum) < 1e-5)
          // No block has ended before the eighth row.
          if row < 7 { #expect(parts[0] == 0) }
        }
      }
    }
  }

  @Test func threadCountDoesNotChangeABit() throws {
    for parameters in Self.parameters {
      let specimen = try Specimen(parsing: parameters.text)
      for problem in try Self.problems() {
        let inputs = TestInputs(problem, seed: 8)
        let single = try specimen.run(problem, inputs)
        for threads in [2, 3, 5] {
          #expect(try specimen.run(problem, inputs, threads: threads).bits == single.bits)
        }
      }
    }
  }

  /// Scores that tie exactly keep the earlier block; the definition holds either right, and no third.
  @Test func nearTiesAloneAreForgiven() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, kvHeads: 1, queryLength: 1, keyLength: 48, headDim: 8),
      visibility: Visibility(causal: true))
    let specimen = try Specimen(parsing: "nsa(8, 3, 4, first: 1, local: 1)")
    let inputs = TestInputs(problem, seed: 3)
    // Blocks 2 and 3 are alike and score best, block 0 is the first, block 5 the query's own.
    for row in 0..<40 {
      for column in 0..<8 {
        let sum = inputs.query[0, 0, 0, column] + inputs.query[0, 1, 0, column]
        inputs.key[0, 0, row, column] = sum * (row / 8 == 2 || row / 8 == 3 ? 1 : -1)
      }
    }
    let oracle = specimen.strategy.oracle(for: problem)
    let views = InputViews(
      query: inputs.query.view, key: inputs.key.view, value: inputs.value.view)
    let right = oracle.admissible(views, batch: 0, head: 1, row: 0)
    #expect(right.count == 2)
    let outputs = try specimen.run(problem, inputs)
    for (x, y) in zip(outputs.output[0, 1, 0], right[0].output) {
      #expect(abs(Double(x) - y) < 1e-5)
    }
    for column in 0..<8 { inputs.key[0, 0, 24, column] *= 0.999 }
    let apart = oracle.admissible(views, batch: 0, head: 1, row: 0)
    #expect(apart.count == 1)
  }

  @Test func whatCannotBeMeantIsRefused() throws {
    let registry = StrategyRegistry.standard
    for text in [
      "nsa(0)", "nsa(8, 2)", "nsa(8, 16, 0)", "nsa(local: 0)", "nsa(first: -1)",
      "nsa(top: 4, first: 3)",
    ] {
      #expect(throws: AttentionError.self, "\(text)") { try registry.strategy(text) }
    }
    let error = #expect(throws: AttentionError.self) { try registry.strategy("nsa(8, 2)") }
    #expect(error?.description.contains("at least first + local = 3") == true)
    let strategy = try registry.strategy("nsa")
    let shape = try AttentionShape(heads: 2, queryLength: 8, headDim: 4)
    let plain = try AttentionProblem(shape, visibility: Visibility(causal: true))
    #expect(strategy.spec(for: plain) == "nsa(64, 16, 512)")
    let inputs = TestInputs(plain, seed: 1)
    let plan = try strategy.plan(for: plain, on: Teams.of(1))
    let missing = #expect(throws: AttentionError.self) {
      try plan.run(TestOutputs(plain).operands(inputs))
    }
    #expect(missing?.argument == "gate" && missing?.advice.contains("[b, h, nQ, 3]") == true)
    let short = try TestTensor(TensorShape(1, 2, 7, 3))
    var operands = TestOutputs(plain).operands(inputs)
    operands.inputs.named = ["gate": short.view]
    #expect(throws: AttentionError.self) { try plan.run(operands) }
    for (visibility, scoring) in [
      (Visibility(causal: true, alibiSlopes: [1, 2]), Scoring()),
      (Visibility(causal: true), Scoring(softcap: 3)),
      (Visibility(causal: true), Scoring(sinkLogits: [0, 0])),
    ] {
      let problem = try AttentionProblem(shape, scoring: scoring, visibility: visibility)
      #expect(throws: AttentionError.self) { try strategy.plan(for: problem, on: Teams.of(1)) }
    }
    #expect(throws: AttentionError.self) { try MixedAttention([strategy, strategy]) }
  }

  /// Heads of a group keep the same blocks, other groups others.
  @Test func workIsCounted() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 4, kvHeads: 2, queryLength: 64, headDim: 16, valueDim: 8),
      visibility: Visibility(causal: true))
    let strategy = try StrategyRegistry.standard.strategy("nsa(8, 4, 10)")
    let work = try strategy.work(for: problem, threads: 1)
    var (pairs, selecting) = (0, 0)
    for row in 0..<64 {
      let ended = (row + 1) / 8
      let own = row / 8
      let others = max(own - 1, 0)
      // The first block, the own one and the one before it, and one of the others.
      let kept = Set([0, own, max(own - 1, 0)]).count + (own >= 3 ? 1 : 0)
      pairs += ended + (kept - 1) * 8 + row % 8 + 1 + min(row + 1, 10)
      if own >= 3 { selecting += 2 * 16 * (others - 1) }
    }
    #expect(work.pairs == 4 * pairs)
    #expect(
      work.flops == 2 * 4 * pairs * 24 + 4 * selecting + 2 * 64 * 24 + 4 * 6 * 64 * 8)
    let plan = try strategy.plan(for: problem, on: Teams.of(1))
    #expect(plan.workspaceBytes == work.workspaceBytes)
  }
}
