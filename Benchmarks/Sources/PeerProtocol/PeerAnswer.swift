import Foundation

/// `hello`: who serves.
public struct PeerHello: Codable, Equatable, Sendable {
  /// The library's name: `onnxruntime`.
  public var library: String
  /// Its version.
  public var version: String
  /// The instruction set of its kernels, where it tells.
  public var isa: String?
  /// The kernel that OpenBLAS chose, where it uses that and tells.
  public var blasCore: String?

  /// A library and its version.
  public init(library: String, version: String, isa: String? = nil, blasCore: String? = nil) {
    self.library = library
    self.version = version
    self.isa = isa
    self.blasCore = blasCore
  }
}

/// `serves`: whether there is a function for the case.
public struct PeerOffer: Codable, Equatable, Sendable {
  /// Whether it is computed at all.
  public var serves: Bool
  /// Why not.
  public var reason: String?
  /// How the library stores the operands, where not as the case does.
  public var dtype: String?
  /// Bytes it takes beyond inputs and output, where they grow with the scores.
  public var scratchBytes: Int?

  /// An offer, or the reason for none.
  public init(
    serves: Bool, reason: String? = nil, dtype: String? = nil, scratchBytes: Int? = nil
  ) {
    self.serves = serves
    self.reason = reason
    self.dtype = dtype
    self.scratchBytes = scratchBytes
  }
}

/// `prepare`: that it is done.
public struct PeerPrepared: Codable, Equatable, Sendable {
  /// What the plan holds beyond inputs and output; nil where the library does not tell.
  public var workspaceBytes: Int?

  /// Done, with so much memory.
  public init(workspaceBytes: Int? = nil) { self.workspaceBytes = workspaceBytes }
}

/// `run`: nanoseconds of each timed call, on the wall and of all threads together.
public struct PeerTimes: Codable, Equatable, Sendable {
  /// On the wall.
  public var wallNs: [Int64]
  /// Of all threads.
  public var cpuNs: [Int64]

  /// Times as taken.
  public init(wallNs: [Int64], cpuNs: [Int64]) {
    self.wallNs = wallNs
    self.cpuNs = cpuNs
  }
}

/// That a request was carried out.
public struct PeerDone: Codable, Equatable, Sendable {
  /// Done.
  public init() {}
}

/// That it was not.
public struct PeerRefusal: Codable, Equatable, Sendable {
  /// Why.
  public var error: String

  /// Says why.
  public init(error: String) { self.error = error }
}

/// Values as lines.
public enum PeerLine {
  /// A line of JSON, its end included.
  public static func encoded(_ value: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(value) + Data("\n".utf8)
  }

  /// The value that a line holds.
  public static func decoded<Value: Decodable>(
    _ line: Data, as type: Value.Type = Value.self
  ) throws -> Value {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(type, from: line)
  }
}
