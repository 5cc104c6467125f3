import Attention
import Measuring
import Records
import Statistics
import Units

/// A layer of a model whose attention is to be chosen.
public struct ModelLayer: Sendable {
  /// Its number in the model, from 0.
  public let number: Int
  /// The prefix of its tensors: `layer3`.
  public let name: String
  public let problem: AttentionProblem
  /// What a squared relative error of its output weighs: nats, where it was measured.
  public let sensitivity: Double

  /// States a layer.
  public init(number: Int, name: String, problem: AttentionProblem, sensitivity: Double = 1) {
    self.number = number
    self.name = name
    self.problem = problem
    self.sensitivity = sensitivity
  }

  /// The number at the end of a prefix: 3 of `layer3`; nil where there is none.
  public static func number(of prefix: String) -> Int? {
    Int(String(prefix.reversed().prefix { $0.isASCII && $0.isNumber }.reversed()))
  }
}

/// What was chosen for the layers of a model, and what else could have been.
public struct ModelChoice: Codable, Equatable, Sendable {
  /// What some limit on the total error leads to.
  public struct Point: Codable, Equatable, Sendable {
    /// The limit.
    public var limit: Double
    /// Root of the sum over layers of sensitivity x squared relative error.
    public var totalError: Double
    /// Its square: the predicted increase of the loss, in nats, where the weights are sensitivities.
    public var squaredError: Double { totalError * totalError }
    /// Predicted time of attention over all layers, in seconds.
    public var seconds: Double
    /// How many times as fast as the baseline.
    public var speedup: Double
    /// The share of the baseline's (query, key) pairs that are scored.
    public var pairsShare: Double

    private enum CodingKeys: String, CodingKey {
      case limit = "max_total_error"
      case totalError = "total_error"
      case seconds = "predicted_time_s"
      case speedup
      case pairsShare = "pairs_share"
    }
  }

  /// A strategy of one head.
  public struct Head: Codable, Equatable, Sendable {
    /// With its parameters: `window(512, sinks: 4)`.
    public var strategy: String
    /// What it adds to the squared relative error of its layer.
    public var squaredError: Double
    /// The share of the baseline's pairs on this head.
    public var pairsShare: Double

    private enum CodingKeys: String, CodingKey {
      case strategy
      case squaredError = "squared_error_share"
      case pairsShare = "pairs_share"
    }
  }

  /// What was chosen for a layer.
  public struct Layer: Codable, Equatable, Sendable {
    public var number: Int
    public var name: String
    /// Whether any candidate was run on it; one that was not keeps the baseline.
    public var isMeasured: Bool
    /// The weight of its squared error.
    public var sensitivity: Double
    public var heads: [Head]
    /// Predicted from the times of the single strategies.
    public var seconds: Double
    public var baselineSeconds: Double
    /// The time of the layer's mix itself; nil where it was not run.
    public var timedSeconds: Double?
    /// The baseline's in the same rounds.
    public var timedBaselineSeconds: Double?

    /// Relative L2 error of the layer's output.
    public var relativeError: Double {
      heads.reduce(0) { $0 + $1.squaredError }.squareRoot()
    }

    /// The share of the baseline's pairs, over its heads.
    public var pairsShare: Double {
      heads.reduce(0) { $0 + $1.pairsShare } / Double(max(heads.count, 1))
    }

    private enum CodingKeys: String, CodingKey {
      case number = "layer"
      case name
      case isMeasured = "measured"
      case sensitivity
      case heads
      case seconds = "predicted_time_s"
      case baselineSeconds = "baseline_time_s"
      case timedSeconds = "timed_s"
      case timedBaselineSeconds = "timed_baseline_s"
    }
  }

  /// A strategy that was measured on the layers of one problem.
  public struct Option: Codable, Equatable, Sendable {
    public var strategy: String
    /// The layers it was measured on.
    public var layers: [Int]
    /// Median time of a run on all heads of a layer.
    public var seconds: Double
    /// The share of the baseline's pairs.
    public var pairsShare: Double

    private enum CodingKeys: String, CodingKey {
      case strategy
      case layers
      case seconds = "time_median_s"
      case pairsShare = "pairs_share"
    }
  }

  /// What everything is compared with, and what layers keep that were not measured.
  public var baseline: String
  /// Predicted time of the baseline over all layers.
  public var baselineSeconds: Double
  /// Every strategy that was measured, the fastest first.
  public var options: [Option]
  /// The trade-off, from the smallest limit that gains anything to the fastest.
  public var curve: [Point]
  /// The limit that was asked for, and what it leads to; nil where none was.
  public var chosen: Point?
  /// The layers of the chosen point; without a limit those of the baseline.
  public var layers: [Layer]
  /// Strategies whose output was wrong, with the fault; they were not chosen.
  public var wrong: [String]
  /// Whether it was stopped before everything was measured.
  public var wasInterrupted: Bool

  /// The layers on which no candidate was run.
  public var unmeasured: [Layer] { layers.filter { !$0.isMeasured } }

  /// The plan's own time and the baseline's in the same rounds, over the layers that were timed; nil
  /// where none was.
  public var timed: (seconds: Double, baselineSeconds: Double, layers: Int)? {
    var (seconds, baseline, count) = (0.0, 0.0, 0)
    for layer in layers {
      guard let own = layer.timedSeconds, let other = layer.timedBaselineSeconds else { continue }
      (seconds, baseline, count) = (seconds + own, baseline + other, count + 1)
    }
    return count > 0 ? (seconds, baseline, count) : nil
  }

  private enum CodingKeys: String, CodingKey {
    case baseline
    case baselineSeconds = "baseline_time_s"
    case options = "candidates"
    case curve
    case chosen
    case layers
    case wrong
    case wasInterrupted = "interrupted"
  }
}

extension ModelPlan {
  /// The plan of a choice.
  ///
  /// - Parameters:
  ///   - problems: those of the layers, in their order.
  ///   - hasSensitivities: whether the weights of the layers are nats.
  ///   - isa: the instruction set of the kernels that were timed; empty where it is not known.
  package init(
    _ choice: ModelChoice, problems: [HeadPlan.Problem], hasSensitivities: Bool,
    inputs: String, model: String?, threads: Int, bind: String, isa: String
  ) {
    self.init(
      layers: zip(choice.layers, problems).map { chosen, problem in
        Layer(
          layer: chosen.number, problem: problem, heads: chosen.heads.map(\.strategy),
          relativeError: chosen.isMeasured ? chosen.relativeError : nil,
          sensitivity: hasSensitivities ? chosen.sensitivity : nil)
      }, inputs: inputs, model: model)
    maximumTotalError = choice.chosen?.limit
    let timed = choice.timed
    measured = Measured(
      totalError: choice.chosen?.totalError,
      predictedLossIncrease: hasSensitivities
        ? choice.chosen?.squaredError : nil,
      predictedSeconds: choice.chosen?.seconds, seconds: timed?.seconds, baseline: choice.baseline,
      baselineSeconds: timed?.baselineSeconds, pairsShare: choice.chosen?.pairsShare,
      threads: threads, bind: bind, isa: isa)
  }
}
