import Attention

/// One problem with everything a run on it needs decided by its number: shape, mask, scale, fill,
/// layouts. Numbers count through the dimensions, head counts, offsets, fills and layouts in step
/// with different periods, so that a few dozen of them meet all values and most pairs.
public struct TestCase: Sendable, CustomStringConvertible {
  /// The number; also the seed.
  public let number: Int
  /// What is to be computed.
  public let problem: AttentionProblem
  /// The kind of Q and K.
  public let fill: TestFill
  /// How Q, K and V lie in memory.
  public let inputLayout: TestLayout
  /// How the output and the LSE lie in memory.
  public let outputLayout: TestLayout
  /// Whether the LSE is asked for.
  public let wantsLogSumExp: Bool
  /// Workers to run on.
  public let threads: Int

  private static let heads: [(heads: Int, kvHeads: Int)] = [
    (1, 1), (6, 2), (2, 2), (5, 1), (4, 4), (1, 1), (3, 1),
  ]
  /// Multiply-adds of QK^T and PV together: keeps one fp64 oracle run in the milliseconds.
  private static let budget = 2_000_000

  /// The case of a number.
  ///
  /// - Throws: `AttentionError` when the library refuses the problem, which would be its fault.
  public init(_ number: Int) throws(AttentionError) {
    var generator = TestGenerator(seed: number)
    let dimensions = TileEdges.dimensions
    let headDim = dimensions[number % dimensions.count]
    let valueDim =
      number % 3 == 0 ? headDim : dimensions[(number * 7 + number / 15) % dimensions.count]
    let batch = number % 4 == 3 ? 2 : 1
    let (heads, kvHeads) = TestCase.heads[number % TestCase.heads.count]
    let rowBudget = TestCase.budget / (batch * heads * (headDim + valueDim))
    let queryLength = TestCase.length(&generator, atMost: max(rowBudget / 8, 17))
    let sameLength = number % 5 < 2
    let keyLength =
      sameLength && queryLength * queryLength <= 2 * rowBudget
      ? queryLength : TestCase.length(&generator, atMost: max(rowBudget / queryLength, 8))
    let offset: QueryOffset =
      switch number % 6 {
      case 0: .topLeft
      case 1: .fixed(-3)
      case 2: .fixed(5)
      case 3: .perBatch(batch == 2 ? [keyLength / 3, -queryLength / 2] : [keyLength / 2])
      default: .bottomRight
      }
    let keyLengths =
      number % 13 == 6 ? (0..<batch).map { _ in generator.pick(0...keyLength) } : nil
    self.number = number
    problem = try AttentionProblem(
      AttentionShape(
        batch: batch, heads: heads, kvHeads: kvHeads, queryLength: queryLength,
        keyLength: keyLength, headDim: headDim, valueDim: valueDim),
      scoring: Scoring(scale: number % 7 == 2 ? 0.3 : nil),
      visibility: Visibility(causal: number % 11 % 2 == 0, offset: offset, keyLengths: keyLengths))
    fill = TestFill.allCases[(number / 2) % TestFill.allCases.count]
    inputLayout = TestLayout.allCases[number % 4]
    outputLayout = TestLayout.allCases[(number / 4) % 4]
    wantsLogSumExp = number % 8 != 5
    threads = number % 9 % 3 + 1
  }

  private static func length(_ generator: inout TestGenerator, atMost limit: Int) -> Int {
    let fitting = TileEdges.lengths.filter { $0 <= limit }
    // The larger of two draws: small lengths have fewer edges to get wrong.
    return max(generator.pick(fitting), generator.pick(fitting))
  }

  public func inputs() -> TestInputs {
    TestInputs(problem, fill: fill, seed: number, layout: inputLayout)
  }

  /// Poisoned outputs for the case.
  public func outputs() -> TestOutputs {
    TestOutputs(problem, layout: outputLayout, logSumExp: wantsLogSumExp)
  }

  /// Everything a failure report needs; the number alone reproduces the case.
  public var description: String {
    let shape = problem.shape
    return "case \(number): b \(shape.batch), heads \(shape.heads) on \(shape.kvHeads), "
      + "n \(shape.queryLength) on \(shape.keyLength), d \(shape.headDim), dV \(shape.valueDim), "
      + (problem.visibility.causal ? "causal, " : "") + "\(problem.visibility.offset), "
      + (problem.visibility.keyLengths.map { "key lengths \($0), " } ?? "") + "\(fill.rawValue), "
      + "\(inputLayout.rawValue) to \(outputLayout.rawValue), \(threads) threads"
  }
}
