import Attention
import AttentionTestSupport
import RealModule
import Testing

/// Selections by an index, by bounds of pages and by columns and diagonals, against definitions that are
/// written down here once more.
@Suite struct KeySelectionTests {
  /// Softmax over the keys of a row that are kept, in fp64.
  private static func softmax(
    _ problem: AttentionProblem, _ inputs: TestInputs, _ batch: Int, _ head: Int, _ row: Int,
    keeping kept: Set<Int>
  ) -> [Double] {
    let kvHead = head / problem.shape.groupSize
    let geometry = problem.geometry(batch: batch)
    var (sum, output) = (0.0, Array(repeating: 0.0, count: problem.shape.valueDim))
    for key in geometry.visible(from: row + geometry.offset) where kept.contains(key) {
      let weight = Double.exp(score(problem, inputs, batch, head, row, key))
      sum += weight
      for column in output.indices {
        output[column] += weight * Double(inputs.value[batch, kvHead, key, column])
      }
    }
    return sum == 0 ? output : output.map { $0 / sum }
  }

  private static func score(
    _ problem: AttentionProblem, _ inputs: TestInputs, _ batch: Int, _ head: Int, _ row: Int,
    _ key: Int
  ) -> Double {
    let kvHead = head / problem.shape.groupSize
    return Double(problem.scale)
      * (0..<problem.shape.headDim).reduce(0.0) {
        $0 + Double(inputs.query[batch, head, row, $1]) * Double(inputs.key[batch, kvHead, key, $1])
      }
  }

  /// The places of the largest scores, of equals the first.
  private static func best(_ scores: [Double], _ count: Int) -> Set<Int> {
    let order = scores.indices.sorted {
      scores[$0] > scores[$1] || scores[$0] == scores[$1] && $0 < $1
    }
    return Set(order.prefix(count))
  }

  private static func expectRow(
    _ outputs: TestOutputs, _ batch: Int, _ head: Int, _ row: Int, _ expected: [Double],
    _ comment: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let distance = zip(outputs.output[batch, head, row], expected).reduce(0.0) {
      max($0, $1.0.isNaN ? .infinity : abs(Double($1.0) - $1.1))
    }
    #expect(
      distance < 1e-5, "\(comment): [\(batch), \(head), \(row)]", sourceLocation: sourceLocation)
  }

  // MARK: Index

  /// Operands of an index.
  struct Index {
    var query: TestTensor
    var key: TestTensor
    var weight: TestTensor

    init(_ shape: AttentionShape, heads: Int, columns: Int, seed: Int) throws {
      var generator = TestGenerator(seed: seed)
      query = try TestTensor(TensorShape(shape.batch, heads, shape.queryLength, columns))
      key = try TestTensor(TensorShape(shape.batch, 1, shape.keyLength, columns))
      weight = try TestTensor(TensorShape(shape.batch, heads, shape.queryLength, 1))
      for tensor in [query, key, weight] { tensor.fill { _, _, _, _ in generator.normal() } }
    }

    var named: [String: TensorView] {
      ["index_q": query.view, "index_k": key.view, "index_w": weight.view]
    }

    func copy() -> Index {
      var copy = self
      (copy.query, copy.key, copy.weight) = (query.copy(), key.copy(), weight.copy())
      return copy
    }

    func score(_ batch: Int, _ row: Int, _ key: Int) -> Double {
      (0..<query.shape.heads).reduce(0.0) { sum, head in
        let product = (0..<query.shape.columns).reduce(0.0) {
          $0 + Double(query[batch, head, row, $1]) * Double(self.key[batch, 0, key, $1])
        }
        return sum + Double(weight[batch, head, row, 0]) * max(0, product)
      }
    }

    func kept(_ problem: AttentionProblem, _ batch: Int, _ row: Int, top: Int) -> Set<Int> {
      let geometry = problem.geometry(batch: batch)
      return best(
        geometry.visible(from: row + geometry.offset).map { score(batch, row, $0) }, top)
    }
  }

  private static func run(
    _ text: String, _ problem: AttentionProblem, _ inputs: TestInputs, _ index: Index,
    threads: Int = 2
  ) throws -> TestOutputs {
    let plan = try Specimen.registry.strategy(text).plan(for: problem, on: Teams.of(threads))
    let outputs = TestOutputs(problem)
    var operands = outputs.operands(inputs)
    operands.inputs.named = index.named
    try plan.run(operands)
    return outputs
  }

  @Test(arguments: [(9, 3, 5), (40, 4, 32), (1, 1, 1), (95, 2, 7)])
  func anIndexDecidesForAllHeads(_ top: Int, _ heads: Int, _ columns: Int) throws {
    let shape = try AttentionShape(
      batch: 2, heads: 4, kvHeads: 2, queryLength: 70, keyLength: 90, headDim: 11, valueDim: 5)
    for visibility in [
      Visibility(causal: true), Visibility(),
      Visibility(causal: true, offset: .fixed(-4), keyLengths: [61, 90]),
    ] {
      let problem = try AttentionProblem(shape, visibility: visibility)
      let inputs = TestInputs(problem, seed: 61)
      let index = try Index(shape, heads: heads, columns: columns, seed: 62)
      let text = "indexer(\(top), heads: \(heads), dim: \(columns))"
      let outputs = try Self.run(text, problem, inputs, index)
      for batch in 0..<2 {
        for row in stride(from: 0, to: 70, by: 3) {
          let kept = index.kept(problem, batch, row, top: top)
          for head in [0, 3] {
            Self.expectRow(
              outputs, batch, head, row,
              Self.softmax(problem, inputs, batch, head, row, keeping: kept), text)
          }
        }
      }
      #expect(try Self.run(text, problem, inputs, index, threads: 3).bits == outputs.bits)
    }
  }

  /// Many keys, of which a sample suggests a limit; and a sample that is better than the rest, so that the
  /// limit is too high and rows are scored again; and keys that all score alike.
  @Test(arguments: ["random", "better sample", "rising", "falling", "alike"])
  func limitsOfASampleDecideNothing(_ kind: String) throws {
    let shape = try AttentionShape(heads: 1, queryLength: 40, keyLength: 3000, headDim: 4)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 63)
    let index = try Index(shape, heads: 1, columns: 2, seed: 64)
    index.query.fill { _, _, row, column in column == 0 ? 1 + Float(row) / 64 : 0 }
    index.weight.fill { _, _, _, _ in 1 }
    index.key.forEachRow { batch, head, row in
      switch kind {
      case "better sample": if row % 32 == 0 { index.key[batch, head, row, 0] += 9 }
      case "rising": index.key[batch, head, row, 0] = 1 + Float(row)
      case "falling": index.key[batch, head, row, 0] = 5000 - Float(row)
      case "alike": index.key[batch, head, row, 0] = 1
      default: break
      }
    }
    let outputs = try Self.run("indexer(100, heads: 1, dim: 2)", problem, inputs, index)
    for row in [0, 7, 39] {
      let kept = index.kept(problem, 0, row, top: 100)
      Self.expectRow(
        outputs, 0, 0, row, Self.softmax(problem, inputs, 0, 0, row, keeping: kept), kind)
    }
  }

  /// More rows than are selected for at a time, more keys than a stretch has, a sequence of few rows beside
  /// one of many, and heads that meet keys by twos and one that is left over.
  @Test func rowsMeetWhatTheyKeepStretchByStretch() throws {
    let shape = try AttentionShape(
      batch: 2, heads: 3, kvHeads: 1, queryLength: 1100, keyLength: 1130, headDim: 9, valueDim: 21)
    let problem = try AttentionProblem(
      shape,
      visibility: Visibility(causal: true, queryLengths: [1100, 50], keyLengths: [1130, 70]))
    let inputs = TestInputs(problem, seed: 83)
    let index = try Index(shape, heads: 4, columns: 32, seed: 84)
    let outputs = try Self.run("indexer(40)", problem, inputs, index)
    for (batch, rows) in [(0, [0, 1, 127, 500, 1023, 1024, 1099]), (1, [0, 30, 49])] {
      for row in rows {
        let kept = index.kept(problem, batch, row, top: 40)
        for head in 0..<3 {
          Self.expectRow(
            outputs, batch, head, row,
            Self.softmax(problem, inputs, batch, head, row, keeping: kept), "stretches")
        }
      }
    }
    for threads in [1, 3] {
      #expect(
        try Self.run("indexer(40)", problem, inputs, index, threads: threads).bits == outputs.bits)
    }
  }

  @Test func theFutureOfAnIndexDoesNotLeak() throws {
    let shape = try AttentionShape(heads: 2, queryLength: 96, headDim: 8)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 65)
    let index = try Index(shape, heads: 4, columns: 32, seed: 66)
    let before = try Self.run("indexer(7)", problem, inputs, index)
    for changed in [1, 48, 95] {
      let (other, otherIndex) = (inputs.copy(), index.copy())
      for tensor in [
        other.query, other.key, other.value, otherIndex.query, otherIndex.key, otherIndex.weight,
      ] {
        tensor.forEachRow { batch, head, row in
          if row < changed { return }
          for column in 0..<tensor.shape.columns { tensor[batch, head, row, column] *= -3 }
        }
      }
      let after = try Self.run("indexer(7)", problem, other, otherIndex)
      for head in 0..<2 {
        for row in 0..<changed {
          #expect(after.output[0, head, row].elementsEqual(before.output[0, head, row]))
        }
      }
    }
  }

  /// A NaN of the index reaches the rows that choose among keys of which it is one, and no other.
  @Test func aNaNOfAnIndexIsNotHidden() throws {
    let shape = try AttentionShape(heads: 2, queryLength: 40, headDim: 8)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 67)
    let index = try Index(shape, heads: 4, columns: 32, seed: 68)
    index.key[0, 0, 20, 3] = .nan
    let outputs = try Self.run("indexer(7)", problem, inputs, index)
    for row in 0..<40 {
      let output = outputs.output[0, 1, row]
      let (all, any) = (output.allSatisfy { $0.isNaN }, output.contains { $0.isNaN })
      #expect(all == (row >= 20) && any == (row >= 20), "row \(row)")
    }
  }

  /// Scores within roundings of each other may go either way, and no others.
  @Test func nearTiesAloneAreForgiven() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 1, keyLength: 12, headDim: 4)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 69)
    let index = try Index(shape, heads: 1, columns: 1, seed: 70)
    (index.query[0, 0, 0, 0], index.weight[0, 0, 0, 0]) = (1, 1)
    for key in 0..<12 { index.key[0, 0, key, 0] = 1 + Float(key) }
    let oracle = try Specimen.registry.strategy("indexer(3, heads: 1, dim: 1)").oracle(for: problem)
    func right() -> Int {
      let views = InputViews(
        query: inputs.query.view, key: inputs.key.view, value: inputs.value.view,
        named: index.named)
      return oracle.admissible(views, batch: 0, head: 0, row: 0).count
    }
    #expect(right() == 1)
    index.key[0, 0, 8, 0] = (10 as Float).nextDown
    #expect(right() == 2)
    index.key[0, 0, 8, 0] = 9.9999
    #expect(right() == 1)
  }

  @Test func anIndexOfAnotherLengthIsRefused() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 8, headDim: 4)
    let problem = try AttentionProblem(shape)
    let longer = try AttentionShape(heads: 1, queryLength: 8, keyLength: 9, headDim: 4)
    let error = #expect(throws: AttentionError.self) {
      try Self.run(
        "indexer", problem, TestInputs(problem, seed: 1),
        Index(longer, heads: 4, columns: 32, seed: 1))
    }
    #expect(error?.argument == "index_k")
  }

  /// The index of tokens that came in without it is not there.
  @Test func aCacheWithoutAnIndexIsRefused() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 1, keyLength: 9, headDim: 4)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let cache = try ContiguousCache(CacheShape(shape), capacity: 9)
    let row = TestTensor(try TensorShape(1, 1, 1, 4))
    row.fill { _, _, _, _ in 1 }
    try cache.append(key: row.view, value: row.view)
    let error = #expect(throws: AttentionError.self) {
      try Specimen.registry.strategy("indexer").decoder(
        for: problem, cache: .existing(cache), on: Teams.of(1))
    }
    #expect(error?.argument == "cache")
  }

  // MARK: Pages

  @Test(arguments: [(4, 3), (7, 2), (16, 4)])
  func pagesGoByTheirBounds(_ page: Int, _ top: Int) throws {
    let shape = try AttentionShape(heads: 4, kvHeads: 2, queryLength: 90, headDim: 9, valueDim: 6)
    for scale in [0.3, -0.3] as [Float] {
      let problem = try AttentionProblem(
        shape, scoring: Scoring(scale: scale), visibility: Visibility(causal: true))
      let inputs = TestInputs(problem, seed: 71)
      let text = "quest(\(page), \(top))"
      let outputs = try Specimen(parsing: text).run(problem, inputs, threads: 2)
      for head in 0..<4 {
        for row in stride(from: 0, to: 90, by: 4) {
          let bounds = (0..<row / page).map { number in
            (0..<9).reduce(0.0) { sum, column in
              let channel = (number * page..<(number + 1) * page).map {
                Double(inputs.key[0, head / 2, $0, column])
              }
              let query = Double(scale) * Double(inputs.query[0, head, row, column])
              return sum + max(query * (channel.max() ?? 0), query * (channel.min() ?? 0))
            }
          }
          let pages = Self.best(bounds, top - 1).union([row / page])
          let kept = Set((0...row).filter { pages.contains($0 / page) })
          Self.expectRow(
            outputs, 0, head, row,
            Self.softmax(problem, inputs, 0, head, row, keeping: kept), text)
        }
      }
    }
  }

  /// Step by step the summaries of blocks follow what comes and goes, over any cache, also where tokens go
  /// without the decoder's knowing.
  @Test(
    arguments: [
      "quest(7, 3)", "topblocks(7, 3)", "quest(7, 1)", "topblocks(4, 2, rows: 3)", "topk(5)",
    ],
    CacheKind.keepingEverything)
  func summariesFollowTheCache(_ text: String, _ kind: CacheKind) throws {
    let specimen = try Specimen(parsing: text)
    let whole = try AttentionProblem(
      AttentionShape(batch: 2, heads: 6, kvHeads: 2, queryLength: 61, headDim: 19, valueDim: 21),
      visibility: Visibility(causal: true))
    let (run, wrong) = (DecodeRun(whole, seed: 72), DecodeRun(whole, seed: 73))
    let problem = try DecodeRun.problem(of: whole)
    let cache = try kind.make(CacheShape(problem.shape), capacity: 61, .float32)
    let decoder = try specimen.strategy.decoder(
      for: problem, cache: .existing(cache), on: Teams.of(2))
    let shares = text.contains("rows")
    var step = 0
    while (decoder.tokens.max() ?? 0) < 55 {
      // Rows that share a selection must come as they do in one run.
      let counts = shares ? [3, 3] : [[1, 1], [3, 3], [4, 1], [0, 2], [1, 0]][step % 5]
      let before = decoder.tokens
      if let cache = cache as? ContiguousCache { try cache.reserve(61) }
      if (before.max() ?? 0) < 50, step % 2 == 1 {
        try wrong.step(decoder, [4, 4])
        for entry in 0..<2 {
          if step % 4 == 1 {
            try decoder.truncate(entry: entry, to: before[entry])
          } else {
            try cache.truncate(entry: entry, to: before[entry])
          }
        }
      }
      try run.step(decoder, counts)
      step += 1
    }
    #expect(run.error(specimen.strategy.oracle(for: whole), decoder) < 1e-5)
  }

  /// A page that is not written is that of the cache.
  @Test func pagesAreThoseOfTheCache() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 1, keyLength: 40, headDim: 4)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    func decoder(_ text: String) throws -> any AttentionDecoder {
      let pool = try PagePool(CacheShape(shape), pageCount: 10, pageRows: 8)
      return try Specimen.registry.strategy(text).decoder(
        for: problem, cache: .paged(pool), on: Teams.of(1))
    }
    _ = try decoder("quest")
    _ = try decoder("quest(8, 2)")
    let error = #expect(throws: AttentionError.self) { try decoder("quest(16, 2)") }
    #expect(error?.argument == "quest page" && error?.description.contains("quest(8, 2)") == true)
  }

  /// A step reads the summaries of pages and the pages that are kept.
  @Test func aStepCountsWhatItReads() throws {
    let shape = try AttentionShape(
      heads: 8, kvHeads: 8, queryLength: 1, keyLength: 32_768, headDim: 64)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let (quest, flash) = try (
      Specimen.registry.strategy("quest(16, 64)").stepWork(for: problem, threads: 1),
      Specimen.registry.strategy("flash").stepWork(for: problem, threads: 1)
    )
    #expect(quest.pairs == 8 * 64 * 16)
    // Two rows of 2,048 pages, and 1,024 keys and values of 32,768.
    #expect(abs(Double(quest.minimumBytes) / Double(flash.minimumBytes) - 0.0938) < 0.001)
  }

  // MARK: Columns and diagonals

  @Test(arguments: [(5, 3), (1, 1), (20, 9), (3, 40)], [true, false])
  func columnsAndDiagonalsOfTheLastQueries(_ counts: (columns: Int, diagonals: Int), causal: Bool)
    throws
  {
    let shape = try AttentionShape(heads: 2, kvHeads: 1, queryLength: 100, headDim: 7)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: causal))
    let inputs = TestInputs(problem, seed: 74)
    let text = "vertical_slash(\(counts.columns), \(counts.diagonals))"
    let outputs = try Specimen(parsing: text).run(problem, inputs, threads: 2)
    for head in 0..<2 {
      var columns = Array(repeating: 0.0, count: 100)
      // By the key that a diagonal meets in the last row.
      var diagonals = Array(repeating: 0.0, count: 163)
      for row in 36..<100 {
        let weights = (causal ? 0..<row + 1 : 0..<100).map {
          Double.exp(Self.score(problem, inputs, 0, head, row, $0))
        }
        let sum = weights.reduce(0, +)
        for (key, weight) in weights.enumerated() {
          columns[key] += weight / sum
          diagonals[key + 99 - row] += weight / sum
        }
      }
      diagonals[99] = .infinity
      let keptColumns = Self.best(columns, counts.columns)
      let keptDiagonals = Self.best(diagonals, counts.diagonals)
      for row in stride(from: 0, to: 100, by: 7) {
        let kept = Set(
          (0..<100).filter { keptColumns.contains($0) || keptDiagonals.contains($0 + 99 - row) })
        Self.expectRow(
          outputs, 0, head, row, Self.softmax(problem, inputs, 0, head, row, keeping: kept), text)
      }
    }
  }

  /// Later queries and keys decide what earlier rows keep; later values reach nobody.
  @Test func laterValuesReachNoEarlierRow() throws {
    let specimen = try Specimen(parsing: "vertical_slash(5, 4)")
    let shape = try AttentionShape(heads: 2, queryLength: 150, headDim: 8)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 75)
    let before = try specimen.run(problem, inputs)
    let other = inputs.copy()
    other.value.forEachRow { batch, head, row in
      if row < 60 { return }
      for column in 0..<8 { other.value[batch, head, row, column] = .nan }
    }
    let after = try specimen.run(problem, other)
    for row in 0..<60 {
      #expect(after.output[0, 1, row].elementsEqual(before.output[0, 1, row]), "row \(row)")
    }
    // A NaN that decides is not hidden.
    other.key[0, 0, 100, 2] = .nan
    let poisoned = try specimen.run(problem, other)
    #expect(poisoned.output[0, 0, 10].allSatisfy { $0.isNaN })
    #expect(poisoned.output[0, 1, 10].elementsEqual(before.output[0, 1, 10]))
  }

  @Test(arguments: [
    ("indexer(0)", "indexer top"), ("indexer(8, heads: 0)", "indexer heads"),
    ("indexer(8, dim: 0)", "indexer dim"), ("quest(0)", "quest page"), ("quest(8, 0)", "quest top"),
    ("vertical_slash(0)", "vertical_slash columns"),
    ("vertical_slash(4, 0)", "vertical_slash diagonals"),
  ])
  func unfitParametersAreRefused(_ text: String, _ argument: String) {
    let error = #expect(throws: AttentionError.self) { try Specimen.registry.strategy(text) }
    #expect(error?.argument == argument)
  }
}
