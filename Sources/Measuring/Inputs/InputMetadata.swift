import Attention
import Foundation
import Records
import TensorFiles
import Units

/// What a file of tensors says of the attention that they were captured from: the strings of its
/// `__metadata__`.
///
/// `causal` ("true"), `scale` (a number, or "1/sqrt(head_dim)"), `softcap`, `window` and `chunk` hold for
/// the whole file. An entry named like a prefix (`layer3`) holds a JSON object with the same names and
/// `sinks`, for that layer alone, and wins. Everything may be left out.
public struct InputMetadata: Equatable, Sendable {
  /// The attention of one layer, as far as it is stated.
  public struct Attention: Equatable, Sendable {
    /// The factor on the scores.
    public enum Scale: Equatable, Sendable {
      /// 1 / sqrt(d).
      case usual
      case value(Float)

      /// The factor for a head dimension.
      public func factor(headDim: Int) -> Float {
        switch self {
        case .usual: 1 / Float(headDim).squareRoot()
        case .value(let factor): factor
        }
      }
    }

    /// Whether position p sees only keys up to p.
    public var causal: Bool?
    public var scale: Scale?
    /// The bound of the scores.
    public var softcap: Float?
    /// How many keys before its own position a query sees; as many after it where it is not causal.
    public var window: Int?
    /// Positions of a chunk, counted from 0: a query sees only keys of its own.
    public var chunk: Int?
    /// A logit for each query head.
    public var sinkLogits: [Float]?

    /// Nothing stated.
    public init() {}
  }

  /// The model's name.
  public let model: String?
  private let whole: Attention
  private let layers: [String: Attention]

  /// Reads the strings of a file.
  ///
  /// - Throws: `FileProblemError` naming the entry that is not as it has to be.
  public init(_ strings: [String: String], path: String) throws(FileProblemError) {
    model = strings["model"]
    var whole = Attention()
    func refusal(_ entry: String, _ rule: String) -> FileProblemError {
      FileProblemError(
        source: "--inputs \(path)",
        problem: "has in its __metadata__ \(entry) '\(strings[entry] ?? "")': \(rule)")
    }
    func number(_ entry: String, _ rule: String) throws(FileProblemError) -> Float? {
      guard let text = strings[entry], text != "null", text != "None" else { return nil }
      do throws(FloatText.Fault) {
        let value = try FloatText.parse(text)
        if value.isFinite { return value }
      } catch {
        if error != .noNumber { throw refusal(entry, error.rule) }
      }
      throw refusal(entry, rule)
    }
    switch strings["causal"]?.lowercased() {
    case nil, "null", "none": break
    case "true": whole.causal = true
    case "false": whole.causal = false
    default: throw refusal("causal", "must be 'true' or 'false'")
    }
    whole.scale =
      if strings["scale"] == "1/sqrt(head_dim)" { .usual } else {
        try number("scale", "must be a number or '1/sqrt(head_dim)'").map { .value($0) }
      }
    whole.softcap = try number("softcap", "must be a number above 0")
    func count(_ entry: String, _ rule: String) throws(FileProblemError) -> Int? {
      guard let text = strings[entry], text != "null", text != "None" else { return nil }
      guard let value = Int(text) else { throw refusal(entry, rule) }
      return value
    }
    whole.window = try count("window", Self.windowRule)
    whole.chunk = try count("chunk", Self.chunkRule)
    if let bad = Self.fault(of: whole) { throw refusal(bad.entry, bad.rule) }
    var layers: [String: Attention] = [:]
    for (name, text) in strings where text.hasPrefix("{") {
      do {
        let entry = try JSONDecoder().decode(Entry.self, from: Data(text.utf8))
        let attention = entry.attention(over: whole)
        if let bad = Self.fault(of: attention) { throw refusal(name, "\(bad.entry) \(bad.rule)") }
        layers[name] = attention
      } catch let error as FileProblemError {
        throw error
      } catch {
        // A file may have other objects: only one that stands for tensors is read.
        guard name.last?.isNumber == true else { continue }
        throw refusal(
          name,
          "must be a JSON object with causal (true or false), scale, softcap, window and chunk "
            + "(numbers) and sinks (a list of numbers), or null for each")
      }
    }
    self.whole = whole
    self.layers = layers
  }

  /// Reads the strings of a file, of its header only.
  ///
  /// - Throws: `TensorFileError`, and as `init(_:path:)`.
  public init(path: String) throws {
    try self.init(SafetensorsFile(path).metadata, path: path)
  }

  /// What is known of the tensors behind a prefix; nil for those without one.
  public func attention(of prefix: String?) -> Attention {
    prefix.flatMap { layers[$0] } ?? whole
  }

  private static func fault(of attention: Attention) -> (entry: String, rule: String)? {
    if let softcap = attention.softcap, !(softcap > 0) {
      return ("softcap", "must be a number above 0")
    }
    let most = AttentionShape.maximumLength
    if let window = attention.window, !(0...most).contains(window) { return ("window", windowRule) }
    if let chunk = attention.chunk, !(1...most).contains(chunk) { return ("chunk", chunkRule) }
    return nil
  }

  private static let windowRule =
    "must be a whole number of keys, 0 to \(AttentionShape.maximumLength)"
  private static let chunkRule =
    "must be a whole number of positions, 1 to \(AttentionShape.maximumLength)"

  /// One layer's JSON.
  private struct Entry: Decodable {
    let causal: Bool?
    let scale: Float?
    let softcap: Float?
    let window: Int?
    let chunk: Int?
    let sinks: [Float]?

    func attention(over whole: Attention) -> Attention {
      var attention = whole
      attention.causal = causal ?? whole.causal
      attention.scale = scale.map { .value($0) } ?? whole.scale
      attention.softcap = softcap ?? whole.softcap
      attention.window = window ?? whole.window
      attention.chunk = chunk ?? whole.chunk
      attention.sinkLogits = sinks
      return attention
    }
  }
}
