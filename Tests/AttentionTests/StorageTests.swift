import Attention
import AttentionTestSupport
import Testing

/// Stored elements are read as what they stand for and outputs are rounded once: a run is, bit for
/// bit, that on fp32 copies with a rounded result.
@Suite struct StorageTests {
  /// The element types of a test, in the order of its number.
  static let choices = [
    ElementTypes(.float16), ElementTypes(.bfloat16),
    ElementTypes(.float32, keyValue: .bfloat16), ElementTypes(.bfloat16, keyValue: .float32),
    ElementTypes(.float32, keyValue: .int8PerToken),
    ElementTypes(.float16, keyValue: .int8PerChannel),
    ElementTypes(.bfloat16, keyValue: .int8PerToken),
    ElementTypes(.float32, keyValue: .int8PerChannel),
  ]

  @Test(arguments: Specimen.all, choices)
  func storageRoundsOnce(_ specimen: Specimen, _ elements: ElementTypes) throws {
    for number in stride(from: 0, to: 120, by: 3) {
      let test = try TestCase(number)
      try check(specimen, test.problem, elements, test.description, test)
    }
  }

  /// More keys than a segment of linear attention, more rows than a block of exact attention,
  /// several tasks a head.
  @Test(arguments: Specimen.all, choices)
  func storageRoundsOnceInLongSequences(_ specimen: Specimen, _ elements: ElementTypes) throws {
    for (queries, keys) in [(700, 60), (40, 2500)] {
      for causal in [false, true] {
        let problem = try AttentionProblem(
          AttentionShape(
            heads: 2, kvHeads: 1, queryLength: queries, keyLength: keys, headDim: 6,
            valueDim: 19), causal: causal)
        try check(specimen, problem, elements, "\(queries) on \(keys), causal \(causal)")
      }
    }
  }

  private func check(
    _ specimen: Specimen, _ problem: AttentionProblem, _ elements: ElementTypes,
    _ comment: String, _ test: TestCase? = nil
  ) throws {
    let stored = StoredInputs(
      test?.inputs() ?? TestInputs(problem, seed: 4), elements,
      layout: test?.inputLayout ?? .bhnd)
    let run = try specimen.run(
      problem.stored(elements), stored, threads: test?.threads ?? 2,
      layout: test?.outputLayout ?? .bhnd)
    let fp32 = try specimen.run(problem, stored.widened(), threads: test?.threads ?? 2)
    // Key/value heads that one task shares may be cut up for more workers where they are fewer.
    #expect(run.output.hasIntactPadding, "\(comment): wrote outside its rows")
    #expect(run.logSumExp.bits == fp32.logSumExp?.bits, "\(comment): LSE")
    let rounded = StoredTensor(fp32.output, elements.query).widened()
    #expect(run.output.widened().bits == rounded.bits, "\(comment)")
  }
}

/// Query, key and value in other element types.
struct StoredInputs {
  let query: StoredTensor
  let key: StoredTensor
  let value: StoredTensor

  init(_ inputs: TestInputs, _ elements: ElementTypes, layout: TestLayout = .bhnd) {
    query = StoredTensor(inputs.query, elements.query, placement: .strided(layout))
    key = StoredTensor(inputs.key, elements.keyValue, placement: .strided(layout))
    value = StoredTensor(inputs.value, elements.keyValue, placement: .strided(layout))
  }

  /// Key and value in pages, query in one piece.
  init(_ inputs: TestInputs, _ elements: ElementTypes, pageRows: Int, usedRows: [Int]) {
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

extension AttentionProblem {
  /// The same problem with other element types.
  func stored(_ elements: ElementTypes) throws -> AttentionProblem {
    try AttentionProblem(
      shape, scale: scale, causal: causal, offset: offset, keyLengths: keyLengths,
      softcap: softcap, sinkLogits: sinkLogits, elements: elements)
  }
}

extension Specimen {
  /// Plans and runs once.
  func run(
    _ problem: AttentionProblem, _ inputs: StoredInputs, threads: Int = 1,
    layout: TestLayout = .bhnd
  ) throws -> StoredOutputs {
    let outputs = StoredOutputs(
      output: StoredTensor(
        problem.shape.output, problem.elements.query, placement: .strided(layout)),
      logSumExp: TestTensor(problem.shape.logSumExp))
    let plan = try strategy.plan(for: problem, on: Teams.of(threads))
    try plan.run(
      AttentionOperands(
        query: inputs.query.view, key: inputs.key.view, value: inputs.value.view,
        output: outputs.output.mutableView, logSumExp: outputs.logSumExp.mutableView))
    return outputs
  }
}
