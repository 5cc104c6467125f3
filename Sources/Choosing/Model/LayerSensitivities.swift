import Foundation
import Measuring
import Records

/// What an error of each layer costs a model, as a file states it: the increase of the loss, in nats,
/// for each unit of the squared relative error of the layer's output.
///
/// `{"format": "attnbench-sensitivity", "version": 1, "layers": [{"layer": 0, "sensitivity": 0.02}]}`
public struct LayerSensitivities: Codable, Equatable, Sendable {
  /// What the first field of every such file says.
  public static let format = "attnbench-sensitivity"
  /// The latest version that this library reads.
  public static let currentVersion = 1

  /// One layer.
  public struct Layer: Codable, Equatable, Sendable {
    /// Its number in the model.
    public var layer: Int
    /// Nats for each unit of squared relative error; 0 or more.
    public var sensitivity: Double

    public init(layer: Int, sensitivity: Double) {
      self.layer = layer
      self.sensitivity = sensitivity
    }
  }

  /// `attnbench-sensitivity`.
  public var format: String
  /// The version of the format.
  public var version: Int
  public var layers: [Layer]

  /// Sensitivities as given.
  public init(_ layers: [Layer]) {
    format = Self.format
    version = Self.currentVersion
    self.layers = layers
  }

  /// Reads and checks a file.
  ///
  /// - Throws: `RecordError` when it cannot be read, `ChoiceFileError` when it holds no sensitivities.
  public init(path: String) throws {
    self = try ChoiceFile.read(LayerSensitivities.self, path, fix: Self.remake)
    try ChoiceFile.check(
      format: format, version: version, are: (Self.format, Self.currentVersion), path,
      fix: Self.remake)
    var known: Set<Int> = []
    for (index, layer) in layers.enumerated() {
      if !known.insert(layer.layer).inserted {
        throw ChoiceFileError(
          path, field: "layers[\(index)].layer", value: "\(layer.layer)",
          rule: "each layer stands once", fix: "remove one of the two entries")
      }
      guard layer.sensitivity.isFinite, layer.sensitivity >= 0 else {
        throw ChoiceFileError(
          path, field: "layers[\(index)].sensitivity", value: "\(layer.sensitivity)",
          rule: "must be a finite number, 0 or more",
          fix: "write 0 where replacing the layer did no harm")
      }
    }
  }

  /// The sensitivity of each of some layers.
  ///
  /// - Parameter path: names the file in errors.
  /// - Throws: `ChoiceFileError` naming the layers that are missing.
  public func values(of wanted: [Int], path: String) throws(ChoiceFileError) -> [Double] {
    let known = Dictionary(layers.map { ($0.layer, $0.sensitivity) }) { first, _ in first }
    let missing = wanted.filter { known[$0] == nil }
    guard missing.isEmpty else {
      throw ChoiceFileError(
        path, field: "layers",
        value: "of \(known.keys.sorted().map(String.init).joined(separator: ", "))",
        rule: "has none for layer \(missing.map(String.init).joined(separator: ", "))",
        fix: "measure it, or choose for the other layers' tensors alone")
    }
    return wanted.compactMap { known[$0] }
  }

  private static let remake =
    "attnbench-model evaluate MODEL --sensitivity FILE writes one"
}
