import Attention
import AttentionTestSupport
import CAllocationCounter
import MachineTopology
import RealModule
import Testing

#if canImport(Glibc)
  import Glibc
#endif

/// Attention through landmarks beside its formula, written down once more.
@Suite struct NystromTests {
  private static let texts = [
    "nystrom(1)", "nystrom(4)", "nystrom(7, iterations: 2)", "nystrom(16)", "nystrom(24)",
  ]

  static func problems() throws -> [AttentionProblem] {
    let shapes = try [
      AttentionShape(
        batch: 2, heads: 4, kvHeads: 2, queryLength: 50, keyLength: 61, headDim: 19, valueDim: 21),
      AttentionShape(heads: 2, queryLength: 1, keyLength: 90, headDim: 8),
      AttentionShape(heads: 1, queryLength: 1, headDim: 3, valueDim: 1),
      AttentionShape(heads: 3, kvHeads: 1, queryLength: 97, headDim: 33, valueDim: 5),
      AttentionShape(heads: 1, queryLength: 130, keyLength: 3, headDim: 16),
      AttentionShape(heads: 1, queryLength: 7, keyLength: 500, headDim: 16),
    ]
    return try shapes.flatMap { shape in
      try [
        Visibility(), Visibility(offset: .fixed(-9)),
        Visibility(
          queryLengths: Array(repeating: (shape.queryLength + 1) / 2, count: shape.batch),
          keyLengths: [shape.keyLength - 1]
            + Array(repeating: shape.keyLength / 2, count: shape.batch - 1)),
      ].map {
        try AttentionProblem(
          shape, scoring: Scoring(scale: shape.headDim == 19 ? 0.3 : nil), visibility: $0)
      }
    }
  }

  /// One head of a batch entry: its rows, and how large the numbers are that rounding acts on.
  private struct Definition {
    var rows: [[Double]] = []
    var size = 0.0
  }

  private static func definition(
    _ problem: AttentionProblem, _ inputs: TestInputs, _ batch: Int, _ head: Int, landmarks: Int,
    iterations: Int
  ) -> Definition {
    let geometry = problem.geometry(batch: batch)
    let kvHead = head / problem.shape.groupSize
    func rows(_ tensor: TestTensor, _ head: Int, _ count: Int) -> [[Double]] {
      (0..<count).map { tensor[batch, head, $0].map(Double.init) }
    }
    let q = rows(inputs.query, head, geometry.queryLength)
    let k = rows(inputs.key, kvHead, geometry.keyLength)
    let v = rows(inputs.value, kvHead, geometry.keyLength)
    let m = min(landmarks, q.count, k.count)
    if m == 0 {
      let zeros = Array(repeating: 0.0, count: problem.shape.valueDim)
      return Definition(rows: Array(repeating: zeros, count: q.count))
    }
    func means(_ rows: [[Double]]) -> [[Double]] {
      (0..<m).map { index in
        let segment = rows[index * rows.count / m..<(index + 1) * rows.count / m]
        return rows[0].indices.map { column in
          segment.reduce(0) { $0 + $1[column] } / Double(segment.count)
        }
      }
    }
    func product(_ a: [[Double]], _ b: [[Double]]) -> [[Double]] {
      a.map { row in
        b[0].indices.map { column in row.indices.reduce(0) { $0 + row[$1] * b[$1][column] } }
      }
    }
    func softmax(_ a: [[Double]], _ b: [[Double]]) -> [[Double]] {
      a.map { x in
        let scores = b.map { y in
          Double(problem.scale) * x.indices.reduce(0) { $0 + x[$1] * y[$1] }
        }
        let largest = scores.max() ?? 0
        let sum = scores.reduce(0) { $0 + Double.exp($1 - largest) }
        return scores.map { Double.exp($0 - largest) / sum }
      }
    }
    let (meanQ, meanK) = (means(q), means(k))
    let a = softmax(meanQ, meanK)
    let transposed = (0..<m).map { i in (0..<m).map { a[$0][i] } }
    func largestSum(_ matrix: [[Double]]) -> Double { matrix.map { $0.reduce(0, +) }.max() ?? 1 }
    var z = transposed.map { $0.map { $0 / (largestSum(a) * largestSum(transposed)) } }
    func minus(_ matrix: [[Double]], from diagonal: Double) -> [[Double]] {
      (0..<m).map { i in (0..<m).map { (i == $0 ? diagonal : 0) - matrix[i][$0] } }
    }
    for _ in 0..<iterations {
      let az = product(a, z)
      let inner = product(az, minus(az, from: 7))
      let outer = product(az, minus(inner, from: 15))
      z = product(z, minus(outer, from: 13)).map { $0.map { $0 / 4 } }
    }
    let values = product(z, product(softmax(meanQ, k), v))
    // Weights of mixed signs cancel: roundings are relative to what is added up.
    let size = values.flatMap { $0 }.map(abs).max() ?? 0
    return Definition(rows: product(softmax(q, meanK), values), size: max(size, 1))
  }

  @Test(arguments: texts)
  func outputsAreTheDefinition(_ text: String) throws {
    let specimen = try Specimen(parsing: text)
    let numbers = text.split { !$0.isNumber }.compactMap { Int($0) }
    for (number, problem) in try Self.problems().enumerated() {
      for layout in text == Self.texts[1] ? [TestLayout.bhnd, .paddedInterleaved] : [.bhnd] {
        let inputs = TestInputs(problem, seed: 60 + number, layout: layout)
        let outputs = try specimen.run(problem, inputs, threads: 2, layout: layout)
        #expect(outputs.hasIntactPadding)
        let lse = try #require(outputs.logSumExp)
        let oracle = specimen.strategy.oracle(for: problem)
        let views = InputViews(
          query: inputs.query.view, key: inputs.key.view, value: inputs.value.view)
        for batch in 0..<problem.shape.batch {
          let geometry = problem.geometry(batch: batch)
          for head in 0..<problem.shape.heads {
            let definition = Self.definition(
              problem, inputs, batch, head, landmarks: numbers[0],
              iterations: numbers.count > 1 ? numbers[1] : 6)
            let prepared = oracle.prepared(views, batch: batch, head: head)
            for row in 0..<problem.shape.queryLength {
              let found = outputs.output[batch, head, row]
              guard row < geometry.queryLength else {
                #expect(found.allSatisfy { $0.isNaN }, "wrote a row that is not in use")
                continue
              }
              let own = prepared.row(views, batch: batch, head: head, row: row)
              for (column, value) in definition.rows[row].enumerated() {
                #expect(
                  abs(Double(found[column]) - value) <= 0x1p-19 * definition.size,
                  "\(text) \(problem)")
                #expect(abs(own.output[column] - value) <= 0x1p-40 * definition.size)
              }
              let isEmpty = geometry.keyLength == 0
              #expect(lse[batch, head, row, 0] == (isEmpty ? -.infinity : 0))
              #expect(own.logSumExp == (isEmpty ? -.infinity : 0))
            }
          }
        }
      }
    }
  }

  /// A landmark a row is full attention, once the inverse has converged.
  @Test func aLandmarkForEveryRowIsFullAttention() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, kvHeads: 1, queryLength: 24, headDim: 16, valueDim: 5))
    let inputs = TestInputs(problem, seed: 4)
    let full = oracleRows(SoftmaxOracle(full: problem), inputs)
    func error(_ text: String) throws -> Double {
      let outputs = try Specimen(parsing: text).run(problem, inputs)
      var (worst, index) = (0.0, 0)
      outputs.output.forEachRow { batch, head, row in
        for (x, y) in zip(outputs.output[batch, head, row], full[index].output) {
          worst = max(worst, abs(Double(x) - y))
        }
        index += 1
      }
      return worst
    }
    #expect(try error("nystrom(24, iterations: 20)") < 1e-3)
    #expect(try error("nystrom(3)") > 1e-2)
  }

  @Test func whatItCannotMeanIsRefused() throws {
    let strategy = try StrategyRegistry.standard.strategy("nystrom(4)")
    let shape = try AttentionShape(heads: 2, queryLength: 8, headDim: 4)
    #expect(!strategy.servesCausalMasks)
    for (visibility, scoring, argument) in [
      (Visibility(causal: true), Scoring(), "causal"),
      (Visibility(alibiSlopes: [1, 2]), Scoring(), "alibiSlopes"),
      (Visibility(), Scoring(softcap: 3), "softcap"),
      (Visibility(), Scoring(sinkLogits: [0, 0]), "sinkLogits"),
    ] {
      let problem = try AttentionProblem(shape, scoring: scoring, visibility: visibility)
      let error = #expect(throws: AttentionError.self) {
        try strategy.plan(for: problem, on: Teams.of(1))
      }
      #expect(error?.argument == argument && error?.advice.contains("flash") != nil)
      #expect(throws: AttentionError.self) { try strategy.work(for: problem, threads: 1) }
    }
    let plain = try AttentionProblem(shape)
    let error = #expect(throws: AttentionError.self) {
      try strategy.decoder(for: plain, on: Teams.of(1))
    }
    #expect(error?.advice.contains("decodes no tokens") == true)
    for text in ["nystrom(0)", "nystrom(4, iterations: 0)", "nystrom(landmark: 3)"] {
      #expect(throws: AttentionError.self) { try StrategyRegistry.standard.strategy(text) }
    }
    #expect(strategy.spec(for: plain) == "nystrom(4)")
    #expect(
      try StrategyRegistry.standard.strategy("nystrom(4, 9)").spec(for: plain)
        == "nystrom(4, iterations: 9)")
  }

  @Test func threadCountDoesNotChangeABit() throws {
    for problem in try Self.problems() {
      let inputs = TestInputs(problem, seed: 8)
      let specimen = try Specimen(parsing: "nystrom(9)")
      let single = try specimen.run(problem, inputs)
      for threads in [2, 3, 5] {
        #expect(try specimen.run(problem, inputs, threads: threads).bits == single.bits)
      }
    }
  }

  /// Every row reads every key in use: a NaN reaches all of them, and none that is padding reaches any.
  @Test func aNaNReachesWhatReadsIt() throws {
    let shape = try AttentionShape(batch: 2, heads: 2, queryLength: 20, headDim: 8)
    let problem = try AttentionProblem(shape, visibility: Visibility(keyLengths: [20, 13]))
    let specimen = try Specimen(parsing: "nystrom(5)")
    let inputs = TestInputs(problem, seed: 2)
    let clean = try specimen.run(problem, inputs)
    for row in 13..<20 {
      inputs.key[1, 0, row].update(repeating: .nan)
      inputs.value[1, 1, row].update(repeating: .infinity)
    }
    #expect(try specimen.run(problem, inputs).bits == clean.bits)
    inputs.key[0, 1, 7, 3] = .nan
    let poisoned = try specimen.run(problem, inputs)
    for row in 0..<20 {
      #expect(poisoned.output[0, 1, row].allSatisfy { $0.isNaN })
      #expect(poisoned.output[0, 0, row].elementsEqual(clean.output[0, 0, row]))
    }
  }

  @Test(arguments: StorageTests.choices)
  func storedElementsAreReadAsWhatTheyStandFor(_ elements: Storage) throws {
    let specimen = try Specimen(parsing: "nystrom(6)")
    for problem in try Self.problems() {
      let stored = StoredInputs(TestInputs(problem, seed: 5), elements)
      let outputs = try specimen.run(problem.storing(elements), stored)
      let plain = try specimen.run(problem, stored.widened())
      let type = elements.output
      plain.output.forEachRow { batch, head, row in
        if row >= problem.geometry(batch: batch).queryLength { return }
        for column in 0..<problem.shape.valueDim {
          let (x, y) = (
            Double(outputs.output.element(batch, head, row, column)),
            Double(plain.output[batch, head, row, column])
          )
          // Scales of integers are applied to scores and weights where rows are few.
          let bound =
            (type == .float32 ? 0 : type.unitRoundoff * abs(y) + type.leastRoundoff)
            + (elements.keyValue.isFloatingPoint ? 1e-7 * abs(y) : 2e-4)
          #expect(abs(x - y) <= bound, "\(elements) \(problem)")
        }
      }
    }
  }

  /// Two products of queries or keys with landmarks, and what is between them.
  @Test func workIsCounted() throws {
    let shape = try AttentionShape(
      heads: 4, kvHeads: 2, queryLength: 100, keyLength: 70, headDim: 16, valueDim: 8)
    let problem = try AttentionProblem(shape)
    let work = try StrategyRegistry.standard.strategy("nystrom(10)").work(for: problem, threads: 1)
    #expect(work.pairs == 4 * (10 * 70 + 100 * 10 + 10 * 10))
    let inverse = 2 * 100 * (16 + 24 * 10 + 8)
    #expect(
      work.flops == 4 * (2 * (700 + 1000) * 24 + inverse + 100 * 16) + 2 * 70 * 16)
    let plan = try StrategyRegistry.standard.strategy("nystrom(10)").plan(
      for: problem, on: Teams.of(1))
    #expect(plan.workspaceBytes == work.workspaceBytes)
  }

  #if canImport(Glibc)
    @Test func aRunAllocatesNothing() async {
      await #expect(processExitsWith: .success) {
        for (number, text) in ["nystrom(5)", "nystrom(40)"].enumerated() {
          let specimen = try Specimen(parsing: text)
          for problem in try NystromTests.problems() {
            let count = try AllocationCount.ofRun(
              specimen.strategy, problem, TestInputs(problem, seed: number), TestOutputs(problem))
            #expect(count == 0, "\(text): \(count) allocations in \(problem)")
          }
        }
      }
    }
  #endif
}
