import Attention
import AttentionTestSupport

/// A problem drawn at random from all that a problem may say, small enough that its fp64 oracle takes
/// a millisecond. The number alone reproduces it.
///
/// Sizes are such that every key's score is apart from the others by far more than roundings, or equal
/// to them: biases and slopes are of a few units or so large that scores vanish beside them.
struct DifferentialCase: CustomStringConvertible {
  let number: Int
  let problem: AttentionProblem
  let fill: TestFill
  let threads: Int
  /// Draws what is left open once the problem is known.
  private(set) var generator: TestGenerator

  /// Around the numbers of query rows at which engines and panels change.
  static let queryLengths = [1, 2, 3, 8, 16, 17, 48, 49, 130]
  private static let dimensions = [1, 3, 5, 7, 8, 16, 17, 24, 31, 33]
  private static let heads = [(1, 1), (2, 1), (4, 2), (3, 3), (6, 2), (5, 1)]
  private static let storages = [
    Storage(), Storage(), Storage(), Storage(.float16), Storage(.bfloat16),
    Storage(.float32, keyValue: .int8PerToken), Storage(.bfloat16, keyValue: .int8PerToken),
    Storage(.float32, keyValue: .int8PerChannel), Storage(.float16, keyValue: .int8PerChannel),
    Storage(.bfloat16, keyValue: .float32),
  ]
  /// Multiply-adds of an oracle run, about.
  private static let budget = 150_000

  init(_ number: Int) throws {
    var generator = TestGenerator(seed: 77_000 + number)
    let queryLength = Self.queryLengths[number % Self.queryLengths.count]
    let batch = generator.pick(1...2)
    let (headDim, valueDim) = (generator.pick(Self.dimensions), generator.pick(Self.dimensions))
    let pairs = Self.budget / (headDim + valueDim + 8) / batch
    let (heads, kvHeads) = generator.pick(
      Self.heads.filter { $0.0 == 1 || $0.0 * queryLength * 24 <= pairs })
    let most = max(1, min(200, pairs / (heads * queryLength)))
    let shape = try AttentionShape(
      batch: batch, heads: heads, kvHeads: kvHeads, queryLength: queryLength,
      keyLength: max(generator.pick(1...most), generator.pick(1...most)), headDim: headDim,
      valueDim: valueDim)
    self.number = number
    problem = try AttentionProblem(
      shape, scoring: Self.scoring(shape, &generator),
      visibility: Self.visibility(shape, &generator), storage: generator.pick(Self.storages))
    fill = generator.pick(TestFill.allCases)
    threads = generator.pick(1...3)
    self.generator = generator
  }

  private static func scoring(
    _ shape: AttentionShape, _ generator: inout TestGenerator
  ) -> Scoring {
    var scoring = Scoring()
    scoring.scale = generator.pick([nil, nil, nil, 0.3, -0.2, 0])
    scoring.softcap = generator.pick(
      [nil, nil, nil, 2, 30, 1e-3, .greatestFiniteMagnitude, .leastNonzeroMagnitude])
    if generator.uniform() < 0.3 {
      let logits: [Float] = [
        0.5, -.infinity, 40, -3, 9, lowest, -lowest, 2.5e38,
      ]
      scoring.sinkLogits = (0..<shape.heads).map { _ in generator.pick(logits) }
    }
    return scoring
  }

  private static let lowest = -Float.greatestFiniteMagnitude

  private static func visibility(
    _ shape: AttentionShape, _ generator: inout TestGenerator
  ) throws -> Visibility {
    func perEntry(_ most: Int) -> [Int]? {
      generator.uniform() < 0.25
        ? (0..<shape.batch).map { _ in generator.pick(0...most) } : nil
    }
    var visibility = Visibility(causal: generator.uniform() < 0.5)
    visibility.offset = generator.pick([
      .topLeft, .bottomRight, .bottomRight, .fixed(generator.pick(-9...9)),
      .perBatch(
        (0..<shape.batch).map { _ in generator.pick(-shape.queryLength...shape.keyLength) }),
    ])
    visibility.queryLengths = perEntry(shape.queryLength)
    visibility.keyLengths = perEntry(shape.keyLength)
    if visibility.causal { visibility.prefixLengths = perEntry(shape.keyLength) }
    let near = [nil, nil, nil, 0, 1, 7, 16, 40, shape.keyLength]
    visibility.windowLeft = generator.pick(near)
    visibility.windowRight = generator.pick(near)
    visibility.chunk = generator.pick([nil, nil, nil, nil, 1, 5, 16, 33, 300])
    let plain = try AttentionProblem(shape)
    func tensorShape() throws -> TensorShape {
      try plain.maskShape(
        generator.pick(0..<8), short: generator.pick([0, 0, 0, 1, 3, 20, shape.keyLength - 1]))
    }
    let (kind, seed) = (generator.pick(TestMask.allCases), generator.pick(0..<1000))
    let size = generator.pick([5, 8, 16, 48, 64])
    if generator.uniform() < 0.4 {
      visibility.mask = kind.mask(try tensorShape(), size: size, seed: seed)
    }
    switch generator.pick(0..<5) {
    case 0, 1:
      visibility.bias = generator.pick(TestMask.allCases).bias(
        try tensorShape(), size: size, deviation: Float(generator.pick(0...2)), seed: seed + 1)
    case 2:
      let values: [Float] = [lowest, lowest, -lowest, -.infinity, 2.5e38, -2.5e38, 0]
      let drawn = (0..<generator.pick(1...4)).map { _ in generator.pick(values) }
      visibility.bias = BroadcastTensor(try tensorShape()) { elements in
        for index in elements.indices { elements[index] = generator.pick(drawn) }
      }
    case 3:
      // One number a key, which engines may add without a mask; rarely one that they must not.
      let most = generator.pick([1, 1, 1, Float(1e29), 1e31])
      let shape = try TensorShape(
        generator.pick([1, plain.shape.batch]), generator.pick([1, plain.shape.heads]), 1,
        plain.shape.keyLength)
      visibility.bias = BroadcastTensor(shape) { elements in
        for index in elements.indices { elements[index] = most * generator.normal() }
      }
    default: break
    }
    if generator.uniform() < 0.3 {
      let slopes: [Float] =
        generator.uniform() < 0.5
        ? [0.5, 0.0625, -0.125, 0] : [1e34, 1e38, 3e38, -lowest, -1e38, 0]
      visibility.alibiSlopes = (0..<shape.heads).map { _ in generator.pick(slopes) }
    }
    return visibility
  }

  func inputs() -> TestInputs { TestInputs(problem, fill: fill, seed: number) }

  /// Query rows in use.
  func queryLength(_ batch: Int) -> Int { problem.geometry(batch: batch).queryLength }

  /// Whether a query row of the case sees a key, by the problem's definition.
  static func shows(
    _ problem: AttentionProblem, _ pattern: any KeyPattern, _ batch: Int, _ head: Int, _ row: Int,
    _ key: Int
  ) -> Bool {
    let position = row + pattern.geometry.offset
    guard key < pattern.geometry.keyLength, pattern.includes(position: position, key: key) else {
      return false
    }
    if let left = problem.visibility.windowLeft, position - key > left { return false }
    if let right = problem.visibility.windowRight, key - position > right { return false }
    if let mask = problem.visibility.mask,
      key >= mask.shape.columns || mask.row(batch, head, row)[key] == 0
    {
      return false
    }
    guard let bias = problem.visibility.bias else { return true }
    return key < bias.shape.columns && bias.row(batch, head, row)[key] != -.infinity
  }

  /// The inputs with NaN and infinity in the key and value rows that no query row sees.
  func poisoned(_ inputs: TestInputs, for strategy: any AttentionStrategy) -> TestInputs {
    let poisoned = inputs.copy()
    let shape = problem.shape
    for batch in 0..<shape.batch {
      let pattern = strategy.pattern(for: problem.geometry(batch: batch))
      for kvHead in 0..<shape.kvHeads {
        let heads = kvHead * shape.groupSize..<(kvHead + 1) * shape.groupSize
        for key in 0..<shape.keyLength {
          let isSeen = heads.contains { head in
            (0..<queryLength(batch)).contains { row in
              Self.shows(problem, pattern, batch, head, row, key)
            }
          }
          if isSeen { continue }
          poisoned.key[batch, kvHead, key].update(repeating: key % 2 == 0 ? .nan : .infinity)
          poisoned.value[batch, kvHead, key].update(repeating: key % 3 == 0 ? .infinity : .nan)
        }
      }
    }
    return poisoned
  }

  var description: String {
    let (shape, scoring, visibility) = (problem.shape, problem.scoring, problem.visibility)
    func text<T>(_ name: String, _ value: T?) -> String { value.map { ", \(name) \($0)" } ?? "" }
    return "case \(number): b \(shape.batch), heads \(shape.heads) on \(shape.kvHeads), "
      + "n \(shape.queryLength) on \(shape.keyLength), d \(shape.headDim), dV \(shape.valueDim)"
      + (visibility.causal ? ", causal" : "") + ", \(visibility.offset), \(fill)"
      + text("scale", scoring.scale) + text("softcap", scoring.softcap)
      + text("sinks", scoring.sinkLogits) + text("query lengths", visibility.queryLengths)
      + text("key lengths", visibility.keyLengths) + text("prefix", visibility.prefixLengths)
      + text("left", visibility.windowLeft) + text("right", visibility.windowRight)
      + text("chunk", visibility.chunk)
      + text("mask", visibility.mask?.shape) + text("bias", visibility.bias?.shape)
      + text("slopes", visibility.alibiSlopes) + ", \(problem.storage), \(threads) threads"
  }
}
