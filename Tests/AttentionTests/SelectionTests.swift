import Attention
import AttentionTestSupport
import Testing

/// Blocks of keys that are selected from the data, where there are more of them than are kept.
@Suite struct SelectionTests {
  static let specimens = [
    "topblocks(4, 3)", "topblocks(16, 2)", "topblocks(7, 4, rows: 3)", "topblocks(8, 3, rows: 5)",
    "topblocks(16, 4, rows: 64)", "topblocks(5, 1)", "topblocks(16, 3, rows: 200)", "topk(9)",
    "topk(1)", "quest(4, 6)", "quest(16, 3)", "quest(9, 1)", "indexer(9, heads: 12)",
    "indexer(33, heads: 12, dim: 9)",
    "vertical_slash(9, 7)",
  ]

  static func problems() throws -> [AttentionProblem] {
    let shapes = try [
      AttentionShape(
        batch: 2, heads: 4, kvHeads: 2, queryLength: 150, keyLength: 170, headDim: 19, valueDim: 21),
      AttentionShape(heads: 2, queryLength: 1, keyLength: 90, headDim: 8),
      AttentionShape(heads: 3, kvHeads: 1, queryLength: 97, headDim: 33, valueDim: 5),
    ]
    // Queries behind the keys, all of them or the last ones, and before them.
    let behind = try AttentionShape(heads: 2, queryLength: 40, keyLength: 128, headDim: 8)
    let aside = try [180, 200, 110, -30].flatMap { (offset: Int) in
      try [true, false].map { (causal: Bool) in
        try AttentionProblem(behind, visibility: Visibility(causal: causal, offset: .fixed(offset)))
      }
    }
    return try aside
      + shapes.flatMap { shape in
        try [
          Visibility(causal: true), Visibility(),
          Visibility(
            causal: true, offset: .fixed(-9),
            keyLengths: [shape.keyLength - 3]
              + Array(
                repeating: shape.keyLength / 2, count: shape.batch - 1)),
          Visibility(
            offset: .topLeft,
            queryLengths: Array(repeating: (shape.queryLength + 1) / 2, count: shape.batch)),
        ].map { try AttentionProblem(shape, visibility: $0) }
      }
  }

  /// Of every row the distance from the nearest of what is right.
  private static func error(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, _ inputs: TestInputs,
    _ outputs: TestOutputs
  ) -> (worst: Double, exchanged: Int) {
    let oracle = strategy.oracle(for: problem)
    let views = InputViews(
      query: inputs.query.view, key: inputs.key.view, value: inputs.value.view)
    var worst = 0.0
    var exchanged = 0
    outputs.output.forEachRow { batch, head, row in
      if row >= problem.geometry(batch: batch).queryLength { return }
      // The definition of columns and diagonals finds them once more for every row.
      if strategy.name == "vertical_slash", row % 29 != 3 { return }
      let right = oracle.admissible(views, batch: batch, head: head, row: row)
      let distances = right.map { truth in
        zip(outputs.output[batch, head, row], truth.output).reduce(0.0) {
          max($0, ($1.0.isNaN ? .infinity : abs(Double($1.0) - $1.1)))
        }
      }
      worst = max(worst, distances.min() ?? .infinity)
      if distances.count > 1 { exchanged += 1 }
    }
    return (worst, exchanged)
  }

  @Test(arguments: specimens)
  func outputsAreTheDefinition(_ text: String) throws {
    let specimen = try Specimen(parsing: text)
    for (number, problem) in try Self.problems().enumerated() {
      let inputs = TestInputs(problem, seed: 40 + number)
      let outputs = try specimen.run(problem, inputs, threads: 2)
      let found = Self.error(specimen.strategy, problem, inputs, outputs)
      #expect(found.worst < 1e-5, "\(text), \(problem)")
      // Random scores lie apart: hardly anything is forgiven.
      #expect(found.exchanged <= 1)
    }
  }

  /// Scores that tie exactly, as those of repeated blocks do, keep the earlier block, and the definition
  /// holds the later one right as well, but not a third.
  @Test func tiesGoToTheEarlierBlock() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 1, keyLength: 40, headDim: 8)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let strategy = try Specimen.registry.strategy("topblocks(8, 2)")
    let inputs = TestInputs(problem, seed: 3)
    // Blocks 1 and 2 are alike and score best, block 4 is the query's own.
    for column in 0..<8 {
      for row in 0..<32 {
        let block = row / 8
        inputs.key[0, 0, row, column] =
          inputs.query[0, 0, 0, column] * (block == 1 || block == 2 ? 1 : -1)
      }
    }
    let outputs = try Specimen(text: "", strategy: strategy).run(problem, inputs)
    let oracle = strategy.oracle(for: problem)
    let views = InputViews(
      query: inputs.query.view, key: inputs.key.view, value: inputs.value.view)
    let right = oracle.admissible(views, batch: 0, head: 0, row: 0)
    #expect(right.count == 2)
    let first = oracle.row(views, batch: 0, head: 0, row: 0)
    for (x, y) in zip(outputs.output[0, 0, 0], first.output) { #expect(abs(Double(x) - y) < 1e-5) }
    // A difference that no rounding makes is not forgiven.
    for column in 0..<8 { inputs.key[0, 0, 16, column] *= 0.999 }
    let apart = oracle.admissible(views, batch: 0, head: 0, row: 0)
    #expect(apart.count == 1 && apart[0] == first)
  }

  /// Whatever comes later changes no bit of an earlier row, with shared selections of an earlier group, unless
  /// later rows are declared to decide; then it does.
  @Test(arguments: [
    "topblocks(4, 3)", "topblocks(8, 2, rows: 16)", "topk(5)", "quest(4, 3)",
    "vertical_slash(9, 7)",
  ])
  func theFutureDoesNotLeak(_ text: String) throws {
    try checkFuture(text, length: 96, [16, 48, 80, 95])
  }

  /// Of many rows, some of which meet a block alone and others with hundreds, as later rows decide.
  @Test(arguments: ["topblocks(16, 3)", "quest(16, 3)", "topk(20)", "nsa(16, 4, 24)"])
  func theFutureOfManyRowsDoesNotLeak(_ text: String) throws {
    try checkFuture(text, length: 1000, [203, 650])
  }

  private func checkFuture(_ text: String, length: Int, _ changes: [Int]) throws {
    let specimen = try Specimen(parsing: text)
    let shape = try AttentionShape(heads: 2, queryLength: length, headDim: 8)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 5)
    let before = try specimen.run(problem, inputs)
    var leaks = 0
    for changed in changes {
      let other = inputs.copy()
      for tensor in [other.query, other.key, other.value] {
        tensor.forEachRow { batch, head, row in
          if row < changed { return }
          for column in 0..<8 { tensor[batch, head, row, column] *= -3 }
        }
      }
      let after = try specimen.run(problem, other)
      let safe = text.contains("rows") ? changed / 16 * 16 : changed
      after.output.forEachRow { batch, head, row in
        if row >= safe { return }
        for column in 0..<8
        where after.output[batch, head, row, column] != before.output[batch, head, row, column] {
          leaks += 1
        }
      }
    }
    #expect((leaks > 0) == specimen.strategy.laterRowsDecide, "\(text): \(leaks)")
  }

  /// A NaN in a key reaches those whose blocks compete with its block, and nobody before it.
  @Test func aNaNIsNotHidden() throws {
    let specimen = try Specimen(parsing: "topblocks(8, 2)")
    let shape = try AttentionShape(heads: 1, queryLength: 64, headDim: 8)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 6)
    inputs.key[0, 0, 20, 3] = .nan
    let outputs = try specimen.run(problem, inputs)
    for row in 0..<64 {
      let isNaN = outputs.output[0, 0, row].allSatisfy(\.isNaN)
      #expect(isNaN == (row >= 20), "row \(row)")
    }
  }

  /// Rows are regrouped chunk by chunk: those around the border of two.
  @Test(arguments: [false, true])
  func chunksJoin(_ causal: Bool) throws {
    let strategy = try Specimen.registry.strategy("topblocks(16, 4)")
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, kvHeads: 1, queryLength: 1100, headDim: 8),
      visibility: Visibility(causal: causal))
    let inputs = TestInputs(problem, seed: 10)
    let outputs = try Specimen(text: "", strategy: strategy).run(problem, inputs, threads: 2)
    let oracle = strategy.oracle(for: problem)
    let views = InputViews(
      query: inputs.query.view, key: inputs.key.view, value: inputs.value.view)
    for row in [0, 63, 64, 1022, 1023, 1024, 1025, 1099] {
      let right = oracle.admissible(views, batch: 0, head: 1, row: row)
      let distances = right.map { truth in
        zip(outputs.output[0, 1, row], truth.output).reduce(0.0) {
          max($0, abs(Double($1.0) - $1.1))
        }
      }
      #expect(distances.min() ?? .infinity < 1e-5, "row \(row)")
    }
  }

  @Test func allBlocksAreFullAttention() throws {
    for problem in try Self.problems() {
      let inputs = TestInputs(problem, seed: 8)
      let flash = try Specimen(parsing: "flash").run(problem, inputs)
      for text in [
        "topblocks(16, 11)", "topblocks(16, 11, rows: 32)", "topk(170)", "quest(16, 11)",
        "indexer(170)", "vertical_slash(170, 1)",
      ] {
        let all = try Specimen(parsing: text).run(problem, inputs)
        var worst: Float = 0
        all.output.forEachRow { batch, head, row in
          if row >= problem.geometry(batch: batch).queryLength { return }
          for (x, y) in zip(all.output[batch, head, row], flash.output[batch, head, row]) {
            worst = max(worst, (x - y).isNaN ? .infinity : abs(x - y))
          }
        }
        #expect(worst < 1e-5, "\(text), \(problem)")
      }
    }
  }

  @Test(arguments: specimens)
  func bitsDoNotDependOnThreads(_ text: String) throws {
    let specimen = try Specimen(parsing: text)
    let problem = try Self.problems()[0]
    let inputs = TestInputs(problem, seed: 9)
    let one = try specimen.run(problem, inputs)
    for threads in [2, 3] {
      #expect(try specimen.run(problem, inputs, threads: threads).bits == one.bits)
    }
  }

  /// What is predicted is what is kept, where blocks are whole.
  @Test func pairsAreCounted() throws {
    let shape = try AttentionShape(heads: 2, queryLength: 64, headDim: 8)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let work = try Specimen.registry.strategy("topblocks(8, 3)").work(for: problem, threads: 1)
    let pairs = (0..<64).reduce(0) { $0 + min($1 / 8, 2) * 8 + $1 % 8 + 1 }
    #expect(work.pairs == 2 * pairs)
  }

  @Test(arguments: [
    ("topblocks(0)", "topblocks block"), ("topblocks(8, 0)", "topblocks top"),
    ("topblocks(8, 2, rows: 0)", "topblocks rows"),
  ])
  func unfitParametersAreRefused(_ text: String, _ argument: String) {
    let error = #expect(throws: AttentionError.self) {
      try Specimen.registry.strategy(text)
    }
    #expect(error?.argument == argument)
  }

  @Test func masksAreRefusedByName() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 8, headDim: 8)
    let problem = try AttentionProblem(
      shape,
      visibility: Visibility(
        mask: BroadcastTensor(try TensorShape(1, 1, 8, 8)) { $0.update(repeating: 1) }))
    let error = #expect(throws: AttentionError.self) {
      try Specimen.registry.strategy("topblocks").plan(for: problem, on: Teams.of(1))
    }
    #expect(error?.argument == "mask")
  }
}
