import Attention
import AttentionTestSupport

/// Problems whose scores lie at the ends of fp32's range, where what fp32 adds, saturates or rounds
/// decides the result. The largest scores are apart by far more than roundings, or equal.
enum ExtremeScores: String, Sendable, CaseIterable {
  /// Biases of -FLT_MAX alone: the mean.
  case lowestEverywhere
  /// All keys but one hidden, and that one biased by -FLT_MAX: it has all the weight.
  case lowestBesideHidden
  case lowestBesideZero
  case largestBesideZero
  /// Biases that scores push beyond the range: what saturates is equal.
  case saturatingSums
  case saturatingDifferences
  case sinkBesideLowest
  case lowestSinkBesideLowest
  case largestSink
  case steepSlope
  case steepNegativeSlope
  case steepSlopeAndLargestBias
  case steepSlopeAndLowestBias
  /// Scores alone, beyond what log2 units could hold.
  case hugeScores
  case hugeNegativeScores
  case equalHugeScores
  /// Products beyond fp32's range that the scale brings back.
  case hugeProducts
  case hugeScoresWithNegativeScale
  /// What fp16 inputs of 30,000 give.
  case largeScores
  case hugeScoresUnderSoftcap
  case hugeSoftcap
  case hugeSoftcapOfHugeScores
  case denormalSoftcap

  static let lowest = -Float.greatestFiniteMagnitude
  static let keys = 41
  static let headDim = 8

  /// Numbers of query rows around those at which engines and panels change.
  static let rows = [1, 2, 3, 8, 16, 17, 48, 49, 130]

  /// Whether fp16 holds the queries and keys.
  var fitsFloat16: Bool {
    switch self {
    case .saturatingSums, .saturatingDifferences, .hugeScores, .hugeNegativeScores,
      .equalHugeScores, .hugeProducts, .hugeScoresWithNegativeScale, .hugeScoresUnderSoftcap,
      .hugeSoftcapOfHugeScores:
      false
    default: true
    }
  }

  /// A number of a key in -1...1, another for each of them.
  private func level(_ key: Int) -> Float {
    Float(key * 17 % Self.keys) / Float(Self.keys - 1) * 2 - 1
  }

  /// A problem on `rows` query rows of two heads that share keys.
  func problem(rows: Int) throws(AttentionError) -> AttentionProblem {
    let shape = try AttentionShape(
      heads: 2, kvHeads: 1, queryLength: rows, keyLength: Self.keys, headDim: Self.headDim,
      valueDim: 3)
    let scale: Float =
      switch self {
      case .hugeProducts: 0.125
      case .hugeScoresWithNegativeScale: -1
      case .largeScores: 0.35
      default: 1
      }
    let plain = try AttentionProblem(shape, scoring: Scoring(scale: scale))
    func bias(_ value: (_ row: Int, _ key: Int) -> Float) throws(AttentionError)
      -> BroadcastTensor<Float>
    {
      BroadcastTensor(try plain.maskShape(3)) { elements in
        for index in elements.indices {
          elements[index] = value(index / Self.keys, index % Self.keys)
        }
      }
    }
    let (lowest, largest) = (Self.lowest, -Self.lowest)
    return switch self {
    case .lowestEverywhere: try plain.with(bias: bias { _, _ in lowest })
    case .lowestBesideHidden:
      try plain.with(bias: bias { $1 == ($0 * 7 + 1) % Self.keys ? lowest : -.infinity })
    case .lowestBesideZero: try plain.with(bias: bias { ($0 + $1) % 3 == 0 ? 0 : lowest })
    case .largestBesideZero:
      try plain.with(bias: bias { $1 == ($0 * 7 + 1) % Self.keys ? largest : 0 })
    case .saturatingSums: try plain.with(bias: bias { _, _ in 3e38 })
    case .saturatingDifferences: try plain.with(bias: bias { _, _ in -3e38 })
    case .sinkBesideLowest: try plain.with(bias: bias { _, _ in lowest }, sinkLogits: [0, 2])
    case .lowestSinkBesideLowest:
      try plain.with(bias: bias { _, _ in lowest }, sinkLogits: [lowest, lowest])
    case .largestSink: try plain.with(sinkLogits: [largest, 3e38])
    case .steepSlope: try plain.with(alibiSlopes: [3e38, largest])
    case .steepNegativeSlope: try plain.with(alibiSlopes: [-3e38, -1e38])
    case .steepSlopeAndLargestBias:
      try plain.with(bias: bias { _, _ in largest }, alibiSlopes: [3e38, 1e38])
    case .steepSlopeAndLowestBias:
      try plain.with(bias: bias { _, _ in lowest }, alibiSlopes: [3e38, -3e38])
    case .hugeScoresUnderSoftcap: try plain.with(softcap: 5)
    case .hugeSoftcap: try plain.with(softcap: largest)
    case .hugeSoftcapOfHugeScores: try plain.with(softcap: 2e38)
    case .denormalSoftcap: try plain.with(softcap: Float(Double(1e-40)))
    default: plain
    }
  }

  /// The size of the scores; nil for those of a few units.
  private var size: Double? {
    switch self {
    case .saturatingSums, .saturatingDifferences: 2e38
    case .hugeScores, .hugeNegativeScores, .hugeScoresWithNegativeScale,
      .hugeScoresUnderSoftcap, .hugeSoftcapOfHugeScores, .equalHugeScores:
      3.3e38
    // Before the scale.
    case .hugeProducts: 2.6e39
    case .largeScores: 7.2e9
    default: nil
    }
  }

  func inputs(_ problem: AttentionProblem, seed: Int) -> TestInputs {
    let inputs = TestInputs(problem, seed: seed)
    guard let size else { return inputs }
    // Powers of two, which every element type holds.
    let width = Float(sign: .plus, exponent: self == .largeScores ? 14 : 62, significand: 1)
    inputs.query.fill { _, _, row, _ in
      width * (row % 2 == 0 || self == .hugeNegativeScores || self == .equalHugeScores ? 1 : -1)
    }
    inputs.key.fill { _, _, key, _ in
      let level: Float =
        switch self {
        case .equalHugeScores: -1
        case .hugeNegativeScores: (level(key) - 3) / 4
        default: level(key)
        }
      return Float(size / Double(width) / Double(Self.headDim)) * level
    }
    return inputs
  }
}
