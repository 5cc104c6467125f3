import Attention
import Foundation
import Records
import Suggestions
import TensorFiles
import Units

/// What a file of tensors says of the attention that they were captured from: the strings of its
/// `__metadata__`.
///
/// `causal` ("true"), `scale` (a number, or "1/sqrt(head_dim)"), `softcap`, `window`, `chunk` and `sinks` (a
/// JSON list) hold for the whole file. An entry named like a prefix (`layer3`) holds a JSON object with the
/// same names, for that layer alone, and wins. Everything may be left out. Other entries are other tools'; in
/// the object of a layer there are no others.
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
  /// - Parameter prefixes: of the tensors in the file, whose entries have to be objects of layers; where that
  ///   is not known, names that end in a digit.
  /// - Throws: `FileProblemError` naming the entry that is not as it has to be.
  public init(
    _ strings: [String: String], path: String, prefixes: [String]? = nil
  ) throws(FileProblemError) {
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
    if let text = strings["sinks"], text != "null", text != "None" {
      guard let sinks = try? JSONDecoder().decode([Float].self, from: Data(text.utf8)) else {
        throw refusal("sinks", "must be a list of a logit for each query head, as [0.5, -1]")
      }
      whole.sinkLogits = sinks
    }
    if let bad = Self.fault(of: whole) { throw refusal(bad.entry, bad.rule) }
    var layers: [String: Attention] = [:]
    // In the order of names, so that the message does not depend on a hash.
    for (name, text) in strings.sorted(by: { $0.key < $1.key }) where text.hasPrefix("{") {
      // A file may have other objects: only one that stands for tensors is read.
      guard prefixes?.contains(name) ?? (name.last?.isNumber == true) else { continue }
      do {
        let data = Data(text.utf8)
        let entry = try JSONDecoder().decode(Entry.self, from: data)
        let keys = try JSONDecoder().decode(Keys.self, from: data)
        if let unknown = keys.first(beside: Entry.names) {
          throw refusal(name, Self.rule(ofUnknown: unknown))
        }
        let attention = entry.attention(over: whole)
        if let bad = Self.fault(of: attention) { throw refusal(name, "\(bad.entry) \(bad.rule)") }
        layers[name] = attention
      } catch let error as FileProblemError {
        throw error
      } catch {
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
    let file = try SafetensorsFile(path)
    try self.init(
      file.metadata, path: path, prefixes: file.prefixes(having: AttentionInputs.roles))
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

  private static func rule(ofUnknown key: String) -> String {
    let names = Entry.names
    let advice =
      NearestName.suggestions(for: key, among: names).first.map { "did you mean '\($0)'?" }
      ?? "known are \(names.joined(separator: ", "))"
    return "'\(key)' says nothing of a layer's attention; \(advice)"
  }

  /// The keys of a JSON object.
  private struct Keys: Decodable {
    private struct Key: CodingKey {
      let stringValue: String
      var intValue: Int? { nil }
      init?(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }

    private let names: [String]

    init(from decoder: any Decoder) throws {
      names = try decoder.container(keyedBy: Key.self).allKeys.map(\.stringValue)
    }

    /// The first by name that is none of `known`.
    func first(beside known: [String]) -> String? {
      names.filter { !known.contains($0) }.min()
    }
  }

  /// One layer's JSON.
  private struct Entry: Decodable {
    private enum CodingKeys: String, CodingKey, CaseIterable {
      case causal
      case scale
      case softcap
      case window
      case chunk
      case sinks
    }

    /// The keys that may be there. `window_keys` is the window as the model counts it, for people.
    static var names: [String] { CodingKeys.allCases.map(\.rawValue) + ["window_keys"] }

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
      attention.sinkLogits = sinks ?? whole.sinkLogits
      return attention
    }
  }
}
