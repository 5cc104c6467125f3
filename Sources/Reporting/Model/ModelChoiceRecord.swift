import Attention
import Choosing
import Foundation
import Records
import TensorFiles

/// What `attnbench recommend --record` writes and `--json` prints about a model; `attnbench plan` and
/// `attnbench report` read it.
public struct ModelChoiceRecord: Codable, Sendable {
  /// A layer's problem.
  public struct Problem: Codable, Sendable {
    /// Its number in the model, from 0.
    public var layer: Int
    public var problem: HeadPlan.Problem
    /// The mask and the scale in words, with where they were taken from.
    public var attention: String

    public init(layer: Int, problem: HeadPlan.Problem, attention: String) {
      self.layer = layer
      self.problem = problem
      self.attention = attention
    }
  }

  /// The file of tensors.
  public var inputs: String
  /// The model's name; nil where the file does not say.
  public var model: String?
  /// In the order of the layers.
  public var problems: [Problem]
  /// The file of sensitivities; nil where every layer weighs the same.
  public var sensitivities: String?
  /// Workers.
  public var threads: Int
  /// Where they ran.
  public var bind: String
  /// The instruction set of the kernels; nil in files of before it was noted.
  public var isa: String?
  /// The time that the measurement was given, in seconds.
  public var budget: Double
  public var result: ModelChoice
  /// What the result was chosen from; nil in files of before it was kept.
  public var measurement: ModelMeasurement?

  /// A record as given.
  public init(
    inputs: String, model: String?, problems: [Problem], sensitivities: String?, threads: Int,
    bind: String, isa: String?, budget: Double, result: ModelChoice,
    measurement: ModelMeasurement?
  ) {
    self.inputs = inputs
    self.model = model
    self.problems = problems
    self.sensitivities = sensitivities
    self.threads = threads
    self.bind = bind
    self.isa = isa
    self.budget = budget
    self.result = result
    self.measurement = measurement
  }

  private enum CodingKeys: String, CodingKey {
    case inputs
    case model
    case problems
    case sensitivities
    case threads
    case bind
    case isa
    case budget = "budget_s"
    case result
    case measurement
  }

  /// The file of a record.
  ///
  /// - Throws: `RecordError` when it cannot be read, `ModelFileError` when it is of another kind,
  ///   `ChoiceFileError` when what was measured contradicts itself.
  public init(path: String) throws {
    guard case .choice(let record) = try ModelFile(path: path) else {
      throw ModelFileError(
        path: path, problem: "is a plan, one point of the trade-off; \(Self.remake) the whole of it"
      )
    }
    self = record
  }

  private static let remake = "attnbench recommend --inputs FILE --record CHOICE writes"

  /// The plan that the result is.
  public var plan: ModelPlan {
    ModelPlan(
      result, problems: problems.map(\.problem), hasSensitivities: sensitivities != nil,
      inputs: inputs, model: model, threads: threads, bind: bind, isa: isa ?? "")
  }

  /// The record's file, to be written with others.
  ///
  /// - Throws: `RecordError`.
  package func output(to path: String) throws(RecordError) -> OutputFile {
    try ChoiceFile.output(self, to: path)
  }

  /// The picture of the trade-off.
  public var picture: ModelChoicePicture {
    ModelChoicePicture(
      result, title: [inputs, model].compactMap { $0 }.joined(separator: ": "),
      hasSensitivities: sensitivities != nil)
  }

  /// The same measurement with another choice from it.
  ///
  /// - Parameters:
  ///   - limit: on the root of the weighted sum of squared errors; nil asks for the trade-off alone.
  ///   - sensitivities: a file and what it says of the layers, in their order; nil keeps the record's own.
  ///   - path: names this record's file in errors.
  /// - Throws: `ModelFileError` where it holds no measurement, `ChoiceFileError` where that contradicts
  ///   itself.
  public func choosingAgain(
    within limit: Double?, sensitivities: (path: String, values: [Double])?, path: String
  ) throws -> ModelChoiceRecord {
    guard let measurement else {
      throw ModelFileError(
        path: path,
        problem: "holds a choice but not what it was made from, as older versions wrote it; "
          + "\(Self.remake) both")
    }
    try measurement.check(path: path, field: "measurement", fix: "\(Self.remake) another")
    guard result.layers.map(\.number) == measurement.layers.map(\.number),
      problems.map(\.layer) == measurement.layers.map(\.number)
    else {
      throw ModelFileError(
        path: path,
        problem:
          "has other layers in measurement than in result or problems; \(Self.remake) another")
    }
    var record = self
    if let sensitivities { record.sensitivities = sensitivities.path }
    record.result = measurement.choice(
      within: limit,
      sensitivities: sensitivities?.values ?? result.layers.map(\.sensitivity))
    return record
  }
}

/// What `attnbench-model evaluate --json` prints: a plan's loss on a text beside full attention's.
public struct ModelEvaluation: Decodable, Sendable {
  /// A mean over the text's tokens with its two-sided 95% interval, in nats.
  public struct Estimate: Decodable, Sendable {
    public var mean: Double
    /// Nil where there were too few tokens for an interval.
    public var low: Double?
    public var high: Double?
  }

  /// A figure of full attention and of the plan.
  public struct Pair<Value: Decodable & Sendable>: Decodable, Sendable {
    public var full: Value
    public var plan: Value
  }

  /// What the first field of every such file says.
  public static let format = "attnbench-model-evaluation"

  /// The model's name.
  public var model: String
  /// The file of the plan.
  public var plan: String
  /// The file of the text.
  public var text: String
  /// Tokens of it.
  public var n: Int
  public var loss: Pair<Estimate>
  /// The paired difference.
  public var increase: Estimate
  /// Sum over layers of sensitivity x squared error of the plan; nil without sensitivities.
  public var predictedIncrease: Double?
  /// Seconds of each round; nil where nothing was timed.
  public var prefill: Pair<[Double]>?
  public var decodeStep: Pair<[Double]>?

  private enum CodingKeys: String, CodingKey {
    case model
    case plan
    case text
    case n
    case loss
    case increase = "loss_increase"
    case predictedIncrease = "predicted_loss_increase"
    case prefill = "prefill_s"
    case decodeStep = "decode_step_s"
  }

  /// Reads a file.
  ///
  /// - Throws: `RecordError` when it cannot be read, `ModelFileError` when it is no evaluation.
  public init(path: String) throws {
    guard try ModelFile.format(of: path) == Self.format else {
      throw ModelFileError(
        path: path,
        problem: "is no evaluation; attnbench-model evaluate MODEL --plan PLAN --text FILE --json "
          + "prints one")
    }
    self = try ModelFile.decode(Self.self, path, else: "holds no evaluation")
  }
}

/// A file that is not what a page of a model is made of: its path and what is wrong.
public struct ModelFileError: Error, Equatable, Sendable, CustomStringConvertible {
  public let path: String
  /// What is wrong, and what to do.
  public let problem: String

  /// One line: `e.json is an evaluation; give it with --evaluation, ...`.
  public var description: String { "\(path) \(problem)" }
}

/// What `attnbench report` can make a page of, besides a sweep.
public enum ModelFile: Sendable {
  /// What `attnbench recommend --record` wrote or `--json` printed: the whole trade-off.
  case choice(ModelChoiceRecord)
  /// What `attnbench recommend --save` wrote: one point of it.
  case plan(ModelPlan)

  /// Reads a file of either kind.
  ///
  /// - Throws: `RecordError` when it cannot be read, `ModelFileError` when it is of another kind,
  ///   `ChoiceFileError` when it is a plan with a fault.
  public init(path: String) throws {
    switch try Self.format(of: path) {
    case ModelPlan.format: self = .plan(try ModelPlan(path: path))
    case ModelEvaluation.format:
      throw ModelFileError(
        path: path, problem: "is an evaluation; give it with --evaluation, beside the plan's file")
    case HeadPlan.format:
      throw ModelFileError(
        path: path, problem: "is a plan of one layer; a page is of a model's or of a sweep")
    default:
      self = .choice(
        try Self.decode(
          ModelChoiceRecord.self, path,
          else: "is neither a model's plan nor what attnbench recommend --record writes for one"))
    }
  }

  /// What a file says that it is; empty where it does not.
  fileprivate static func format(of path: String) throws -> String {
    struct Format: Decodable {
      let format: String?
    }
    return try decode(Format.self, path, else: "is no JSON object").format ?? ""
  }

  fileprivate static func decode<Content: Decodable>(
    _ type: Content.Type, _ path: String, else problem: String
  ) throws -> Content {
    let bytes = try FileBytes.read(path)
    do {
      return try JSONDecoder().decode(type, from: Data(bytes))
    } catch {
      throw ModelFileError(path: path, problem: problem + Self.place(of: error))
    }
  }

  /// Where a decoder stopped: ` (result.layers.0.heads is missing)`.
  private static func place(of error: any Error) -> String {
    let (keys, what): ([any CodingKey], String)
    switch error {
    case DecodingError.keyNotFound(let key, let context):
      (keys, what) = (context.codingPath + [key], "is missing")
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
      (keys, what) = (context.codingPath, "is of another type")
    default: return ""
    }
    if keys.isEmpty { return "" }
    return " (\(keys.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: "."))"
      + " \(what))"
  }
}
