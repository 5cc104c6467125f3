import Attention
import Measuring
import Records
import Statistics
import Units

/// What a strategy found of the needles of a task.
public struct RetrievalResult: Sendable {
  /// The needles of one bin.
  public struct Count: Sendable, Hashable {
    /// How many were planted.
    public internal(set) var needles = 0
    /// How many were found.
    public internal(set) var found = 0
    var cosineSum = 0.0
    /// Of some of the needles' rows.
    var recalls: [RowRecall] = []

    /// The share found; 0 of none.
    public var share: Double { needles == 0 ? 0 : Double(found) / Double(needles) }
    public var interval: WilsonInterval { WilsonInterval(count: found, of: needles) }
    /// What a restricted strategy keeps of full attention on the rows of some of the needles; nil for other
    /// classes.
    public var recall: Recall? { Recall(recalls) }
    /// The mean cosine between output rows and their needles' codes: 1 for a copy, 0 for what has
    /// nothing of it. An output that is not finite counts as 0.
    public var meanCosine: Double { needles == 0 ? 0 : cosineSum / Double(needles) }
  }

  /// The strategy with its parameters resolved.
  public let strategy: String
  /// Its registered name.
  public let name: String
  /// Its resolved parameters; empty when there are none.
  public let parameters: String
  /// What it computes.
  public let operatorClass: OperatorClass
  /// One count for each bin of the task.
  public internal(set) var counts: [Count]

  init(_ strategy: any AttentionStrategy, on task: RetrievalTask) {
    self.strategy = strategy.spec(for: task.problem)
    name = strategy.name
    parameters = strategy.resolvedParameters(for: task.problem)
    operatorClass = strategy.operatorClass
    counts = Array(repeating: Count(), count: task.bins.count)
  }

  /// The share found of all needles, every bin having the same weight: with octaves as bins, of
  /// distances spread evenly over their logarithm.
  public var overallShare: Double {
    let shares = counts.filter { $0.needles > 0 }.map(\.share)
    return shares.isEmpty ? 0 : shares.reduce(0, +) / Double(shares.count)
  }

  /// What it keeps of full attention, every bin having the same weight; nil where it is not restricted.
  public var overallRecall: (massKept: Double, topKeysFound: Double)? {
    let recalls = counts.compactMap(\.recall)
    if recalls.isEmpty { return nil }
    let count = Double(recalls.count)
    return (
      recalls.reduce(0) { $0 + $1.massKept } / count,
      recalls.reduce(0) { $0 + $1.topKeysFound } / count
    )
  }

  /// Takes in what is kept of the rows of some needles.
  mutating func add(_ needles: [Needle], recalls: [RowRecall?]) {
    for (needle, recall) in zip(needles, recalls) {
      if let recall { counts[needle.bin].recalls.append(recall) }
    }
  }

  /// Takes in the output of one round.
  mutating func add(_ needles: [Needle], output: Tensor, value: Tensor, choices: Int) {
    for needle in needles {
      let score = RetrievalScore(needle, output: output, value: value, choices: choices)
      counts[needle.bin].needles += 1
      counts[needle.bin].found += score.isFound ? 1 : 0
      counts[needle.bin].cosineSum += score.cosine
    }
  }
}

/// How an output row compares with its needle's code and with others.
private struct RetrievalScore {
  let cosine: Double
  let isFound: Bool

  init(_ needle: Needle, output: Tensor, value: Tensor, choices: Int) {
    let shape = value.shape
    let columns = shape.columns
    let row = (needle.head * output.shape.rows + needle.row) * columns
    let kvHead = needle.head / (output.shape.heads / shape.heads)
    let computed = output.elements[row..<row + columns].map(Double.init)
    let norm = computed.reduce(0) { $0 + $1 * $1 }.squareRoot()
    // Zero is what a row gives that sees no key; NaN is what a faulty one gives.
    guard norm.isFinite, norm > 0 else {
      (cosine, isFound) = (0, false)
      return
    }
    let values = value.elements
    func similarity(_ key: Int) -> Double {
      let start = (kvHead * shape.rows + key) * columns
      var product = 0.0
      var square = 0.0
      for column in 0..<columns {
        let code = Double(values[start + column])
        product += computed[column] * code
        square += code * code
      }
      return product / (norm * square.squareRoot())
    }
    let own = similarity(needle.key)
    // Decoys from the whole sequence, so that their share of a pattern is the pattern's.
    let step = (shape.rows - 1) / (choices - 1)
    isFound = (1..<choices).allSatisfy { own > similarity((needle.key + $0 * step) % shape.rows) }
    self.cosine = own
  }
}
