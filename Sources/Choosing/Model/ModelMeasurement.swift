/// What a choice for a model goes by: the time of every strategy on the layers' problems and its error on
/// each head. A choice within another limit or with other sensitivities needs no other measurement.
public struct ModelMeasurement: Codable, Equatable, Sendable {
  /// A strategy on a problem.
  public struct Candidate: Codable, Equatable, Sendable {
    /// With its parameters: `window(512, sinks: 4)`.
    public var strategy: String
    /// Median time of a run on all heads of a layer, in seconds.
    public var seconds: Double
    /// The least that the median may be, in seconds.
    public var low: Double
    /// The most.
    public var high: Double
    /// The share of the baseline's (query, key) pairs that are scored.
    public var pairsShare: Double

    private enum CodingKeys: String, CodingKey {
      case strategy
      case seconds = "time_median_s"
      case low = "time_low_s"
      case high = "time_high_s"
      case pairsShare = "pairs_share"
    }
  }

  /// Layers whose attention is the same problem, so that they share times.
  public struct Group: Codable, Equatable, Sendable {
    /// Their numbers in the model.
    public var layers: [Int]
    /// Query heads of each.
    public var heads: Int
    /// What the others are compared with.
    public var baseline: String
    /// Its time on a layer, in seconds: from the ratio of the work where it was not run.
    public var baselineSeconds: Double
    /// What was run, the baseline first.
    public var candidates: [Candidate]

    private enum CodingKeys: String, CodingKey {
      case layers
      case heads
      case baseline
      case baselineSeconds = "baseline_time_s"
      case candidates
    }
  }

  /// The errors on a layer.
  public struct Layer: Codable, Equatable, Sendable {
    /// Its number in the model, from 0.
    public var number: Int
    /// The prefix of its tensors.
    public var name: String
    /// Whether any candidate was run on it.
    public var isMeasured: Bool
    /// By strategy, for each head: what it adds to the squared relative error of the layer's output; nil for
    /// an output that is not finite.
    public var squaredErrors: [String: [Double?]]

    private enum CodingKeys: String, CodingKey {
      case number = "layer"
      case name
      case isMeasured = "measured"
      case squaredErrors = "squared_error_shares"
    }
  }

  public var groups: [Group]
  /// In the order of the model.
  public var layers: [Layer]
  /// Strategies whose output was wrong, with the fault.
  public var wrong: [String]

  /// What all layers are compared with.
  public var baseline: String { groups.first?.baseline ?? "" }

  /// The layers' group, by its place in `groups`.
  var groupOfLayer: [Int: Int] {
    Dictionary(
      groups.enumerated().flatMap { place, group in group.layers.map { ($0, place) } },
      uniquingKeysWith: { first, _ in first })
  }

  /// Refuses a measurement, read from a file, that contradicts itself.
  ///
  /// - Throws: `ChoiceFileError` naming the field.
  package func check(path: String, field: String, fix: String) throws(ChoiceFileError) {
    let places = groupOfLayer
    for (index, group) in groups.enumerated() {
      for (place, candidate) in group.candidates.enumerated() {
        guard candidate.low <= candidate.seconds, candidate.seconds <= candidate.high,
          candidate.low >= 0
        else {
          throw ChoiceFileError(
            path, field: "\(field).groups[\(index)].candidates[\(place)].time_median_s",
            value: "\(candidate.seconds)", rule: "must lie between time_low_s and time_high_s",
            fix: fix)
        }
      }
    }
    for (index, layer) in layers.enumerated() {
      guard let place = places[layer.number] else {
        throw ChoiceFileError(
          path, field: "\(field).layers[\(index)].layer", value: "\(layer.number)",
          rule: "stands in no group", fix: fix)
      }
      let heads = groups[place].heads
      for (strategy, errors) in layer.squaredErrors.sorted(by: { $0.key < $1.key })
      where errors.count != heads || errors.contains(where: { ($0 ?? 0) < 0 }) {
        throw ChoiceFileError(
          path, field: "\(field).layers[\(index)].squared_error_shares", value: "'\(strategy)'",
          rule: "must be \(heads) numbers, 0 or more, one for each head", fix: fix)
      }
      // Something must be left to choose where nothing else keeps to the limit.
      let baseline = groups[place].baseline
      let isServed =
        groups[place].candidates.contains { $0.strategy == baseline }
        && layer.squaredErrors[baseline]?.allSatisfy { $0 != nil } == true
      guard isServed || !layer.isMeasured else {
        throw ChoiceFileError(
          path, field: "\(field).layers[\(index)].squared_error_shares", value: "'\(baseline)'",
          rule: "must be there, and among the candidates, of a layer that was measured", fix: fix)
      }
    }
  }
}
