import Attention
import Foundation
import Measuring
import Records
import TensorFiles
import Units

/// A strategy for each query head of each layer of a model, as it stands in a plan file.
///
/// `Guides/Choosing.md` describes the JSON. It holds at any length: the sizes of its strategies are
/// as written. Layers that are not in it run what it was compared with.
public struct ModelPlan: Codable, Equatable, Sendable {
  /// What the first field of every such file says.
  public static let format = "attnbench-model-plan"
  /// The version of the format that this library writes, and the latest that it reads.
  public static let currentVersion = 1

  /// `attnbench-model-plan`.
  public var format: String
  /// The version of the format.
  public var version: Int
  /// The attnbench that wrote the plan; nil in one written by hand.
  public var toolVersion: String?
  /// The file of tensors that it was chosen on.
  public var inputs: String?
  /// The model's name.
  public var model: String?
  /// The limit on the root of the weighted sum of the layers' squared errors.
  public var maximumTotalError: Double?
  /// In the order of their numbers.
  public var layers: [Layer]
  public var measured: Measured?

  /// One layer.
  public struct Layer: Codable, Equatable, Sendable {
    /// Its number in the model, from 0.
    public var layer: Int
    /// What it was measured on.
    public var problem: HeadPlan.Problem
    /// One strategy for each query head, as `window(512, sinks: 4)`.
    public var heads: [String]
    /// Relative L2 error of the layer's output; nil where it was not measured.
    public var relativeError: Double?
    /// Nats for each unit of squared relative error; nil where none was given.
    public var sensitivity: Double?

    private enum CodingKeys: String, CodingKey {
      case layer
      case problem
      case heads
      case relativeError = "rel_l2_error"
      case sensitivity
    }
  }

  /// Figures of the measurement that led to the plan.
  public struct Measured: Codable, Equatable, Sendable {
    /// Root of the weighted sum of the layers' squared errors.
    public var totalError: Double?
    /// Its square, where the weights are sensitivities: nats.
    public var predictedLossIncrease: Double?
    /// Attention of all layers by the times of the single strategies.
    public var predictedSeconds: Double?
    /// The plan's own time over the layers that were timed.
    public var seconds: Double?
    /// What it is compared with.
    public var baseline: String?
    /// Its time in the same rounds.
    public var baselineSeconds: Double?
    /// The share of the baseline's (query, key) pairs that are scored.
    public var pairsShare: Double?
    /// Workers.
    public var threads: Int
    /// Where they ran.
    public var bind: String
    /// The instruction set of the kernels.
    public var isa: String

    private enum CodingKeys: String, CodingKey {
      case totalError = "total_error"
      case predictedLossIncrease = "predicted_loss_increase"
      case predictedSeconds = "predicted_time_s"
      case seconds = "time_s"
      case baseline
      case baselineSeconds = "baseline_time_s"
      case pairsShare = "pairs_share"
      case threads
      case bind
      case isa
    }
  }

  private enum CodingKeys: String, CodingKey {
    case format
    case version
    case toolVersion = "tool_version"
    case inputs
    case model
    case maximumTotalError = "max_total_error"
    case layers
    case measured
  }

  /// A plan as given.
  public init(layers: [Layer], inputs: String? = nil, model: String? = nil) {
    format = Self.format
    version = Self.currentVersion
    toolVersion = AttnbenchVersion.current
    self.inputs = inputs
    self.model = model
    self.layers = layers
  }

  /// Reads and checks a plan file.
  ///
  /// - Throws: `RecordError` when the file cannot be read, `ChoiceFileError` when it is no plan.
  public init(path: String) throws {
    self = try ChoiceFile.read(ModelPlan.self, path, fix: Self.remake)
    try ChoiceFile.check(
      format: format, version: version, are: (Self.format, Self.currentVersion), path,
      fix: Self.remake)
    guard !layers.isEmpty else {
      throw ChoiceFileError(
        path, field: "layers", rule: "has no entries", fix: Self.remake)
    }
    var known: Set<Int> = []
    for (index, layer) in layers.enumerated() {
      guard layer.layer >= 0, known.insert(layer.layer).inserted else {
        throw ChoiceFileError(
          path, field: "layers[\(index)].layer", value: "\(layer.layer)",
          rule: "layers have numbers from 0 on, each once", fix: "change or remove the entry")
      }
      try layer.problem.check(
        entries: layer.heads.count, path: path, field: "layers[\(index)].", fix: Self.remake)
    }
  }

  /// Writes the plan, replacing the file as a whole.
  ///
  /// - Throws: `RecordError` when the file cannot be written.
  public func write(to path: String) throws(RecordError) {
    try ChoiceFile.write(self, to: path)
  }

  /// The plan's file, to be written with others.
  ///
  /// - Throws: `RecordError`.
  package func output(to path: String) throws(RecordError) -> OutputFile {
    try ChoiceFile.output(self, to: path)
  }

  /// The mix of one layer.
  ///
  /// - Parameters:
  ///   - number: the layer's number in the model.
  ///   - path: names the file in errors.
  /// - Throws: `ChoiceFileError` naming the layer that is not there, or the head whose strategy is
  ///   not known.
  public func mix(
    ofLayer number: Int, _ registry: StrategyRegistry = .standard, path: String
  ) throws(ChoiceFileError) -> MixedAttention {
    let index = try index(ofLayer: number, path: path)
    return try ChoiceFile.mix(
      of: layers[index].heads, registry, path, field: { "layers[\(index)].heads[\($0)]" },
      fix: Self.remake)
  }

  /// What one layer was measured on.
  ///
  /// - Throws: `ChoiceFileError` naming the layer that is not there.
  public func measured(
    ofLayer number: Int, path: String
  ) throws(ChoiceFileError) -> HeadPlan.Problem {
    try layers[index(ofLayer: number, path: path)].problem
  }

  /// The problem of one layer on tensors, whose lengths may be others than the plan's.
  ///
  /// - Throws: `ChoiceFileError` naming the first size that does not fit, `AttentionError`.
  public func problem(
    ofLayer number: Int, on shape: AttentionShape, path: String
  ) throws -> AttentionProblem {
    let index = try index(ofLayer: number, path: path)
    try layers[index].problem.check(
      fits: shape, atAnyLength: true, path: path, field: "layers[\(index)].problem",
      fix: Self.remake)
    return try layers[index].problem.attention(on: shape)
  }

  private func index(ofLayer number: Int, path: String) throws(ChoiceFileError) -> Int {
    if let index = layers.firstIndex(where: { $0.layer == number }) { return index }
    let numbers = layers.map(\.layer).sorted().map(String.init).joined(separator: ", ")
    throw ChoiceFileError(
      path, field: "layers", value: "of \(numbers)", rule: "has no layer \(number)",
      fix: "give the tensors of one that it has, or \(Self.remake)")
  }

  private static let remake =
    "make a plan: attnbench recommend --inputs FILE --max-total-error E --save PLAN"
}

/// A plan file of either kind.
public enum PlanFile: Sendable {
  case heads(HeadPlan)
  case model(ModelPlan)

  /// Reads a plan of the kind that its `format` says.
  ///
  /// - Throws: as the plans' own readers.
  public init(path: String) throws {
    struct Format: Decodable {
      let format: String
    }
    let format = try? ChoiceFile.read(Format.self, path, fix: "").format
    self =
      format == ModelPlan.format
      ? .model(try ModelPlan(path: path)) : .heads(try HeadPlan(path: path))
  }
}
