import Attention
import AttentionTestSupport
import Testing

/// Stored elements are read as what they stand for and outputs are rounded once: a run is, bit for
/// bit, that on fp32 copies with a rounded result.
@Suite struct StorageTests {
  /// The element types of a test, in the order of its number.
  static let choices = [
    Storage(.float16), Storage(.bfloat16),
    Storage(.float32, keyValue: .bfloat16), Storage(.bfloat16, keyValue: .float32),
    Storage(.float32, keyValue: .int8PerToken),
    Storage(.float16, keyValue: .int8PerChannel),
    Storage(.bfloat16, keyValue: .int8PerToken),
    Storage(.float32, keyValue: .int8PerChannel),
  ]

  @Test(arguments: Specimen.all, choices)
  func storageRoundsOnce(_ specimen: Specimen, _ elements: Storage) throws {
    for number in stride(from: 0, to: 120, by: 5) {
      try StorageTests.check(specimen, TestCase(number), elements)
    }
  }

  /// More keys than a segment of linear attention, more rows than a block of exact attention,
  /// several tasks a head.
  @Test(arguments: Specimen.all, choices)
  func storageRoundsOnceInLongSequences(_ specimen: Specimen, _ elements: Storage) throws {
    for (queries, keys, causal) in [(700, 60, true), (40, 2500, false), (330, 330, true)] {
      let problem = try AttentionProblem(
        AttentionShape(
          heads: 2, kvHeads: 1, queryLength: queries, keyLength: keys, headDim: 6, valueDim: 19),
        visibility: Visibility(causal: causal))
      try StorageTests.check(
        specimen, problem, StoredInputs(TestInputs(problem, seed: 4), elements), elements,
        "\(queries) on \(keys), causal \(causal)")
    }
  }

  static func check(
    _ specimen: Specimen, _ test: TestCase, _ elements: Storage
  ) throws {
    try check(
      specimen, test.problem, StoredInputs(test.inputs(), elements, layout: test.inputLayout),
      elements, "\(specimen.text), \(elements): \(test)", threads: test.threads,
      layout: test.outputLayout)
  }

  static func check(
    _ specimen: Specimen, _ problem: AttentionProblem, _ inputs: StoredInputs,
    _ elements: Storage, _ comment: String, threads: Int = 2, layout: TestLayout = .bhnd
  ) throws {
    let stored = try specimen.run(
      problem.storing(elements), inputs, threads: threads, layout: layout)
    let fp32 = try specimen.run(problem, inputs.widened(), threads: threads)
    #expect(stored.output.hasIntactPadding, "\(comment): wrote outside its rows")
    if try !elements.keyValue.isFloatingPoint && specimen.decodes(problem) {
      // Scales of integers are applied to scores and weights there, not to elements.
      checkScaled(specimen, problem, inputs, elements, stored, comment)
      return
    }
    let sameLSE = stored.logSumExp.bits == fp32.logSumExp?.bits
    #expect(sameLSE, "\(comment): LSE")
    let rounded = StoredTensor(fp32.output, elements.query).widened()
    let same = stored.output.widened().bits == rounded.bits
    #expect(same, "\(comment)")
  }

  /// Against fp64, with the rounding of the output.
  private static func checkScaled(
    _ specimen: Specimen, _ problem: AttentionProblem, _ inputs: StoredInputs,
    _ elements: Storage, _ stored: StoredOutputs, _ comment: String
  ) {
    let truth = oracleRows(specimen.strategy.oracle(for: problem), inputs.widened())
    let error = TestOutputs(output: stored.output.widened(), logSumExp: stored.logSumExp)
      .deviation(from: truth)
    let logit = truth.lazy.map { abs($0.logSumExp) }.filter(\.isFinite).max() ?? 0
    let gate = 2e-6 + 1e-6 * logit
    // Values are within +-6.
    let rounding: [ElementType: Double] = [.float16: 6 * 0x1p-11, .bfloat16: 6 * 0x1p-8]
    #expect(
      error.maximum <= 5 * gate + rounding[elements.query, default: 0]
        && error.logSumExp <= gate, "\(comment): \(error)")
  }

  /// The strategies' own definitions in fp64, on what the elements stand for.
  @Test(arguments: Specimen.all, [ElementType.float16, .bfloat16])
  func storedRunsAgreeWithTheirOracles(_ specimen: Specimen, _ type: ElementType) throws {
    for number in stride(from: 1, to: 100, by: 9) {
      let test = try TestCase(number)
      let inputs = StoredInputs(test.inputs(), Storage(type), layout: test.inputLayout)
      let run = try specimen.run(
        test.problem.storing(Storage(type)), inputs, threads: test.threads)
      let outputs = TestOutputs(output: run.output.widened(), logSumExp: run.logSumExp)
      ErrorGate.check(
        specimen, test.problem, inputs.widened(), outputs, "\(type.rawValue): \(test)",
        roundedTo: type)
    }
  }

  /// Rows that do not see a poisoned key keep every bit; rows that see a NaN are NaN.
  @Test(arguments: Specimen.all, [ElementType.float16, .bfloat16])
  func poisonStaysWhereItIsSeen(_ specimen: Specimen, _ type: ElementType) throws {
    let elements = Storage(type)
    let problem = try AttentionProblem(
      AttentionShape(
        batch: 2, heads: 4, kvHeads: 2, queryLength: 150, keyLength: 170, headDim: 19,
        valueDim: 21), visibility: Visibility(causal: true, offset: .perBatch([-20, 3])))
    let clean = TestInputs(problem, seed: 3)
    let expected = try specimen.run(
      problem.storing(elements), StoredInputs(clean, elements), threads: 2)
    for (key, value) in [(169, Float.nan), (40, .nan), (168, .infinity), (0, -.infinity)] {
      for role in [\TestInputs.key, \.value] {
        let poisoned = clean.copy()
        poisoned[keyPath: role].forEachRow { batch, head, row in
          if row == key { poisoned[keyPath: role][batch, head, row].update(repeating: value) }
        }
        let outputs = try specimen.run(
          problem.storing(elements), StoredInputs(poisoned, elements), threads: 2)
        let (found, unharmed) = (outputs.output.widened(), expected.output.widened())
        var wrong = 0
        found.forEachRow { batch, head, row in
          let pattern = specimen.strategy.pattern(for: problem.geometry(batch: batch))
          let sees = pattern.includes(position: row + pattern.geometry.offset, key: key)
          // Where a query looks may be a matter of the query alone, and then it may miss the key.
          if sees, specimen.strategy.selectsKeys, !specimen.isSoftmax { return }
          if sees {
            if value.isNaN, !found[batch, head, row].allSatisfy(\.isNaN) { wrong += 1 }
          } else if !found[batch, head, row].elementsEqual(unharmed[batch, head, row]) {
            wrong += 1
          }
        }
        #expect(wrong == 0, "\(wrong) rows, key \(key) \(value)")
      }
    }
  }

  /// Query blocks and thread counts leave every bit alone, as with fp32.
  @Test(arguments: Specimen.all)
  func threadsDoNotChangeABit(_ specimen: Specimen) throws {
    let elements = Storage(.bfloat16)
    let problem = try AttentionProblem(
      AttentionShape(heads: 3, kvHeads: 1, queryLength: 400, headDim: 8, valueDim: 4),
      storage: elements)
    let inputs = StoredInputs(TestInputs(problem, seed: 3), elements)
    let bits = try [1, 2, 5].map {
      let outputs = try specimen.run(problem, inputs, threads: $0)
      return (outputs.output.patterns, outputs.logSumExp.bits)
    }
    let same = bits.allSatisfy { $0 == bits[0] }
    #expect(same)
  }

  /// Rows in pages are the rows they are, whatever the page size; pages beyond the keys in use need
  /// not exist.
  @Test(
    arguments: Specimen.all,
    [
      Storage(), Storage(.bfloat16), Storage(.float32, keyValue: .int8PerToken),
      Storage(.float16, keyValue: .int8PerChannel),
    ])
  func pagesDoNotChangeABit(_ specimen: Specimen, _ elements: Storage) throws {
    for (rows, causal, lengths) in [
      (1, true, nil), (16, false, nil), (48, true, [90, 333]), (500, false, [0, 17]),
    ] as [(Int, Bool, [Int]?)] {
      let problem = try AttentionProblem(
        AttentionShape(
          batch: 2, heads: 4, kvHeads: 2, queryLength: 70, keyLength: 333, headDim: 16,
          valueDim: 32), visibility: Visibility(causal: causal, keyLengths: lengths),
        storage: elements)
      let inputs = TestInputs(problem, seed: 5)
      let expected = try specimen.run(
        problem, StoredInputs(inputs, elements), threads: 2)
      let paged = StoredInputs(
        inputs, elements, pageRows: rows, usedRows: lengths ?? [333, 333])
      if try !specimen.strategy.plan(for: problem, on: Teams.of(2)).takesPagedRows {
        #expect(throws: AttentionError.self) { try specimen.run(problem, paged, threads: 2) }
        continue
      }
      let found = try specimen.run(problem, paged, threads: 2)
      let same =
        found.output.widened().bits == expected.output.widened().bits
        && found.logSumExp.bits == expected.logSumExp.bits
      #expect(same, "pages of \(rows), causal \(causal), \(lengths ?? [])")
    }
  }

  @Test func exactNamesTheTensorInPages() throws {
    let problem = try AttentionProblem(AttentionShape(heads: 1, queryLength: 9, headDim: 4))
    let paged = StoredInputs(
      TestInputs(problem, seed: 1), Storage(), pageRows: 4, usedRows: [9])
    let exact = try Specimen(text: "full", strategy: Specimen.registry.strategy("full"))
    let error = #expect(throws: AttentionError.self) { try exact.run(problem, paged) }
    #expect(error?.argument == "key")
    #expect(error?.description.contains("flash") == true)
  }

  /// Heads keep their own scales when a mix picks them out.
  @Test func mixesReadStoredHeads() throws {
    let elements = Storage(.bfloat16, keyValue: .int8PerChannel)
    let problem = try AttentionProblem(
      AttentionShape(
        batch: 2, heads: 6, kvHeads: 3, queryLength: 60, headDim: 16, valueDim: 9),
      visibility: Visibility(causal: true))
    let mix = try MixedAttention(
      ["flash", "linear", "window(9)", "flash", "full", "strided(4)"].map {
        try Specimen.registry.strategy($0)
      })
    try StorageTests.check(
      Specimen(text: "mix", strategy: mix), problem,
      StoredInputs(TestInputs(problem, seed: 6), elements), elements, "mix")
  }

  @Test(arguments: Specimen.all, StorageTests.choices)
  func workCountsWhatPlansDo(_ specimen: Specimen, _ elements: Storage) throws {
    for number in [3, 11, 20] {
      let test = try TestCase(number)
      let problem = try test.problem.storing(elements)
      let work = try specimen.strategy.work(for: problem, threads: test.threads)
      let plan = try specimen.strategy.plan(for: problem, on: Teams.of(test.threads))
      #expect(work.workspaceBytes == plan.workspaceBytes, "\(test)")
      #expect(work.minimumBytes <= problem.tensorBytes)
    }
  }
}

/// Query, key and value in other element types.
struct StoredInputs {
  let query: StoredTensor
  let key: StoredTensor
  let value: StoredTensor

  init(_ inputs: TestInputs, _ elements: Storage, layout: TestLayout = .bhnd) {
    query = StoredTensor(inputs.query, elements.query, placement: .strided(layout))
    key = StoredTensor(inputs.key, elements.keyValue, placement: .strided(layout))
    value = StoredTensor(inputs.value, elements.keyValue, placement: .strided(layout))
  }

  /// Other queries with the same keys and values.
  init(query: TestTensor, _ others: StoredInputs, _ elements: Storage) {
    self.query = StoredTensor(query, elements.query)
    (key, value) = (others.key, others.value)
  }

  /// Key and value in pages, query in one piece.
  init(_ inputs: TestInputs, _ elements: Storage, pageRows: Int, usedRows: [Int]) {
    query = StoredTensor(inputs.query, elements.query)
    let paged = TestPlacement.paged(rows: pageRows, usedRows: usedRows)
    key = StoredTensor(inputs.key, elements.keyValue, placement: paged, seed: 1)
    value = StoredTensor(inputs.value, elements.keyValue, placement: paged, seed: 2)
  }

  /// What the elements stand for.
  func widened() -> TestInputs {
    TestInputs(query: query.widened(), key: key.widened(), value: value.widened())
  }
}

/// The output of a run in another element type, and its LSE.
struct StoredOutputs {
  let output: StoredTensor
  let logSumExp: TestTensor
}

extension Specimen {
  /// Plans and runs once.
  func run(
    _ problem: AttentionProblem, _ inputs: StoredInputs, threads: Int = 1,
    layout: TestLayout = .bhnd
  ) throws -> StoredOutputs {
    let outputs = StoredOutputs(
      output: StoredTensor(
        problem.shape.output, problem.storage.query, placement: .strided(layout)),
      logSumExp: TestTensor(problem.shape.logSumExp))
    let plan = try strategy.plan(for: problem, on: Teams.of(threads))
    try plan.run(
      AttentionOperands(
        query: inputs.query.view, key: inputs.key.view, value: inputs.value.view,
        output: outputs.output.mutableView, logSumExp: outputs.logSumExp.mutableView))
    return outputs
  }
}
