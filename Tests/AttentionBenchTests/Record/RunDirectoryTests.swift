import AttentionBench
import Foundation
import SystemPackage
import Testing

@Suite("Run directories")
struct RunDirectoryTests {
  @Test("A new run has its parents, its headers and nothing else")
  func fresh() throws {
    try withTemporaryDirectory { base in
      let path = base + "/a/b/run"
      let directory = try RunDirectory(path: path, resuming: false)
      #expect(directory.earlierRows.isEmpty)
      #expect(try text(directory.layout.results) == ResultRow.header.joined(separator: ",") + "\n")
      #expect(try text(directory.layout.samples) == SampleRow.header.joined(separator: ",") + "\n")
    }
  }

  @Test("Results are never overwritten")
  func refusesToOverwrite() throws {
    try withTemporaryDirectory { path in
      do {
        let directory = try RunDirectory(path: path, resuming: false)
        try directory.append(.measured(), samples: [.taken(0), .taken(1)])
      }
      let before = try text(path + "/results.csv")
      let error = #expect(throws: RecordError.self) {
        try RunDirectory(path: path, resuming: false)
      }
      #expect(
        error?.description == "\(path)/results.csv already exists; add --resume to go on with it, "
          + "or choose another directory with -o")
      #expect(try text(path + "/results.csv") == before)
    }
  }

  @Test("A resume finds the rows, and goes on below them")
  func resume() throws {
    try withTemporaryDirectory { path in
      do {
        let directory = try RunDirectory(path: path, resuming: false)
        try directory.append(.measured(), samples: [.taken(0)])
      }
      let directory = try RunDirectory(path: path, resuming: true)
      #expect(directory.earlierRows == [.measured()])
      try directory.append(.measured(n: 2000), samples: [.taken(1)])
      let rows = try RunDirectory.readResults(in: path).rows
      #expect(rows == [.measured(), .measured(n: 2000)])
      let samples = try RecordFile<SampleRow>(reading: directory.layout.samples).rows
      #expect(samples == [.taken(0), .taken(1)])
    }
  }

  @Test("Resuming what was never begun begins it, even after a kill inside the header")
  func resumeNothing() throws {
    try withTemporaryDirectory { path in
      try Data("schema_ver".utf8).write(to: URL(fileURLWithPath: path + "/results.csv"))
      let directory = try RunDirectory(path: path, resuming: true)
      try directory.append(.measured())
      #expect(try RunDirectory.readResults(in: path).rows == [.measured()])
    }
  }

  @Test("A path through a file names the path, the reason and the fix")
  func pathThroughFile() throws {
    try withTemporaryDirectory { base in
      try Data().write(to: URL(fileURLWithPath: base + "/file"))
      let path = base + "/file/run"
      let error = #expect(throws: RecordError.self) {
        try RunDirectory(path: path, resuming: false)
      }
      #expect(
        error?.description == "cannot create directory \(path): Not a directory; "
          + "a part of the path is a file; choose another directory with -o")
      #expect(throws: RecordError.self) { try RunDirectory(path: base + "/file", resuming: false) }
    }
  }

  /// Nobody may create directories in /proc, not even root, whom permissions do not stop.
  @Test("A place where nothing can be created is an error")
  func unwritable() {
    let error = #expect(throws: RecordError.self) {
      try RunDirectory(path: "/proc/attnbench-test", resuming: false)
    }
    #expect(error?.description.hasPrefix("cannot create directory /proc/attnbench-test: ") == true)
  }

  @Test("Reading a directory without results says what is missing")
  func nothingToRead() throws {
    try withTemporaryDirectory { path in
      let file = path + "/results.csv"
      #expect(
        throws: RecordError.system(operation: "read", path: file, errno: .noSuchFileOrDirectory)
      ) { try RunDirectory.readResults(in: path) }
    }
  }

  private func text(_ path: String) throws -> String {
    try String(contentsOfFile: path, encoding: .utf8)
  }
}

@Suite("meta.json")
struct RunMetadataTests {
  private static let metadata = RunMetadata(
    runID: "r1", argv: ["attnbench", "sweep", "--n", "1k..100k"], options: ["--head_dim": "64"],
    seed: .max, toolVersion: "0.1.0",
    build: .init(commit: "abc", dirty: true, compiler: "Swift 6.3.1", compilerFlags: "-O"),
    blas: .init(
      library: "OpenBLAS 0.3.21", config: "DYNAMIC_ARCH", core: "SkylakeX", threads: 1,
      environmentNote: nil),
    isaCompiled: ["portable", "avx2", "avx512"], isaChosen: "avx512",
    machine: .init(
      hostname: "box", system: "Debian 12", cpuModel: "A CPU", cores: 2, hardwareThreads: 2,
      caches: [.init(level: "L1d", bytes: 49152, sharedByCores: 1)],
      topologySummary: "1 package, 2 cores", memoryTotalBytes: 8 << 30,
      memoryAvailableBytes: 6 << 30, cgroupMemoryBytes: nil, cgroupCPUs: 1.5, governor: nil),
    loadBefore: [0.1, 0.2, 0.3], startedAt: Date(timeIntervalSince1970: 1_700_000_000))

  @Test("It survives the file, at the start of a run and at its end")
  func roundTrip() throws {
    try withTemporaryDirectory { path in
      let directory = try RunDirectory(path: path, resuming: false)
      var metadata = Self.metadata
      try directory.write(metadata)
      #expect(try RunDirectory.readMetadata(in: path) == metadata)
      metadata.completed = true
      metadata.endedAt = Date(timeIntervalSince1970: 1_700_000_600)
      metadata.loadAfter = [2, 1, 0.5]
      try directory.write(metadata)
      #expect(try RunDirectory.readMetadata(in: path) == metadata)
      let names = try FileManager.default.contentsOfDirectory(atPath: path).sorted()
      #expect(names == ["meta.json", "results.csv", "samples.csv"])
    }
  }

  @Test("Its keys are snake_case throughout, and options keep the user's spelling")
  func keys() throws {
    try withTemporaryDirectory { path in
      try RunDirectory(path: path, resuming: false).write(Self.metadata)
      let data = try Data(contentsOf: URL(fileURLWithPath: path + "/meta.json"))
      let object = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
      let machine = try #require(object["machine"] as? [String: Any])
      for key in Array(object.keys) + Array(machine.keys) {
        #expect(key == key.lowercased(), "\(key)")
      }
      #expect(object["run_id"] as? String == "r1")
      #expect(object["completed"] as? Bool == false)
      #expect(object["started_at"] as? String == "2023-11-14T22:13:20Z")
      #expect(machine["cgroup_cpus"] as? Double == 1.5)
      #expect(object["options"] as? [String: String] == ["--head_dim": "64"])
    }
  }

  @Test(
    "A damaged file is an error that says where",
    arguments: [
      ("", "not valid JSON"), ("{", "not valid JSON"), ("{}", "no key 'schema_version'"),
      ("{\"schema_version\": \"one\"}", "the value of 'schema_version' does not fit"),
    ])
  func damaged(text: String, problem: String) throws {
    try withTemporaryDirectory { path in
      try Data(text.utf8).write(to: URL(fileURLWithPath: path + "/meta.json"))
      #expect(
        throws: RecordError.malformedFile(path: path + "/meta.json", problem: problem)
      ) { try RunDirectory.readMetadata(in: path) }
    }
  }
}
